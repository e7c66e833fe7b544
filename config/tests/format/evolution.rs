//! An old reader and a new writer: records that grew at their end, and sections that nobody here knows.

use proptest::prelude::*;
use ringway_config::{Blob, Fault, VerifyError};

use crate::arbitrary;
use crate::sample::models;

/// A section: id, bytes of a record, count, bytes.
type Section = (u16, usize, usize, Vec<u8>);

const HEADER: usize = 20;
const ENTRY: usize = 12;

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn sections(bytes: &[u8]) -> Vec<Section> {
    (0..u16_at(bytes, 6))
        .map(|i| {
            let at = HEADER + i * ENTRY;
            let (id, stride) = (u16_at(bytes, at) as u16, u16_at(bytes, at + 2));
            let (offset, count) = (u32_at(bytes, at + 4), u32_at(bytes, at + 8));
            (id, stride, count, bytes[offset..offset + stride * count].to_vec())
        })
        .collect()
}

fn rebuilt(bytes: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut out = bytes[..HEADER].to_vec();
    out[6..8].copy_from_slice(&(sections.len() as u16).to_le_bytes());
    let mut offset = HEADER + sections.len() * ENTRY;
    for (id, stride, count, records) in sections {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&(*stride as u16).to_le_bytes());
        out.extend_from_slice(&(offset as u32).to_le_bytes());
        out.extend_from_slice(&(*count as u32).to_le_bytes());
        offset += records.len();
    }
    sections.iter().for_each(|s| out.extend_from_slice(&s.3));
    let len = (out.len() as u32).to_le_bytes();
    out[8..12].copy_from_slice(&len);
    out
}

/// The blob as a later version might write it: every record longer, new sections in between and behind.
fn future(bytes: &[u8], more: usize) -> Vec<u8> {
    let mut all = sections(bytes);
    for (_, stride, _, records) in all.iter_mut().filter(|s| s.0 != 1) {
        let long = records.chunks(*stride).flat_map(|r| r.iter().copied().chain(std::iter::repeat_n(0xee, more)));
        (*records, *stride) = (long.collect(), *stride + more);
    }
    all.push((40, 3, 5, vec![0xdd; 15]));
    all.push((900, 8, 0, Vec::new()));
    rebuilt(bytes, &all)
}

#[test]
fn a_blob_from_the_future_reads_as_far_as_it_is_known() {
    for model in models() {
        let now = Blob::encode(&model).unwrap();
        assert_eq!(rebuilt(now.bytes(), &sections(now.bytes())), now.bytes()[..], "the test takes blobs apart rightly");
        for more in [1, 4, 13, 1000] {
            let later = Blob::verify(future(now.bytes(), more).into()).unwrap();
            assert_eq!(later.decode(), model);
            assert_ne!(later.hash(), now.hash());
        }
    }
}

#[test]
fn what_an_old_reader_must_not_skip_is_refused() {
    for model in models() {
        let now = Blob::encode(&model).unwrap();
        let mut version = now.bytes().to_vec();
        version[3] = b'2';
        assert_eq!(Blob::verify(version.into()).unwrap_err(), VerifyError::Version { found: b'2' });
        let mut reserved = now.bytes().to_vec();
        reserved[5] = 1;
        assert_eq!(Blob::verify(reserved.into()).unwrap_err(), VerifyError::Header { field: "reserved byte" });
        let mut kind = now.bytes().to_vec();
        kind[4] = 6;
        assert_eq!(Blob::verify(kind.into()).unwrap_err(), VerifyError::Header { field: "kind" });
    }
    let domain = &models()[1];
    let blob = Blob::encode(domain).unwrap();
    let mut all = sections(blob.bytes());
    let domains = all.iter_mut().find(|s| s.0 == 6).unwrap();
    domains.3[10] = 1;
    let error = Blob::verify(rebuilt(blob.bytes(), &all).into()).unwrap_err();
    assert!(
        matches!(error, VerifyError::Record { section: 6, record: 0, field: "reserved", fault: Fault::NotZero, .. }),
        "{error}"
    );
}

#[test]
fn records_of_an_older_and_shorter_kind_are_refused() {
    for model in models() {
        let blob = Blob::encode(&model).unwrap();
        for cut in sections(blob.bytes()).iter().filter(|s| s.0 != 1).map(|s| s.0) {
            let mut all = sections(blob.bytes());
            let (_, stride, _, records) = all.iter_mut().find(|s| s.0 == cut).unwrap();
            *records = records.chunks(*stride).flat_map(|r| r[..*stride - 1].to_vec()).collect();
            *stride -= 1;
            let error = Blob::verify(rebuilt(blob.bytes(), &all).into()).unwrap_err();
            assert!(matches!(error, VerifyError::Section { id, .. } if id == cut), "{error}");
        }
    }
}

#[test]
fn a_section_can_neither_overlap_nor_leave_a_gap_nor_come_twice() {
    let blob = Blob::encode(&models()[1]).unwrap();
    let all = sections(blob.bytes());
    let mut twice = all.clone();
    twice.push(all.last().unwrap().clone());
    assert!(Blob::verify(rebuilt(blob.bytes(), &twice).into()).is_err());
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    assert!(Blob::verify(rebuilt(blob.bytes(), &swapped).into()).is_err());
    for entry in 0..all.len() {
        let at = HEADER + entry * ENTRY + 4;
        for shift in [1u32, u32::MAX, 1 << 31] {
            let mut bytes = blob.bytes().to_vec();
            let moved = (u32_at(&bytes, at) as u32).wrapping_add(shift);
            bytes[at..at + 4].copy_from_slice(&moved.to_le_bytes());
            assert!(Blob::verify(bytes.into()).is_err(), "entry {entry} moved by {shift}");
        }
    }
    let mut more = all;
    let (.., count, records) = more.last_mut().unwrap();
    let record = records[..records.len() / *count].to_vec();
    records.extend_from_slice(&record);
    *count += 1;
    let error = Blob::verify(rebuilt(blob.bytes(), &more).into()).unwrap_err();
    assert!(matches!(error, VerifyError::Record { fault: Fault::Unreferenced, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_model_survives_growth(model in arbitrary::model(), more in 1usize..40) {
        let now = Blob::encode(&model).unwrap();
        let later = Blob::verify(future(now.bytes(), more).into()).unwrap();
        prop_assert_eq!(later.decode(), model);
    }
}
