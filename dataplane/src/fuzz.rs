//! What has to hold for any bytes. The fuzz target calls this, and so does a plain test over the committed corpus; a violation panics.
//! Nothing here is part of the product.

use std::net::IpAddr;

use crate::house::dns::message::{ADDRESSES_MAX, AnswerError, Family, answer};

/// A DNS message as the answer to each question for `a.test` that has its id: the addresses are few, different, and of the family; a message that was
/// cut off is none, and one for another question is another's.
pub fn dns_answer(bytes: &[u8]) {
    const NAME: &str = "a.test";
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for family in [Family::V4, Family::V6] {
        let read = answer(bytes, id, NAME, family);
        assert_eq!(read, answer(bytes, id, NAME, family), "another reading says something else");
        assert_eq!(answer(bytes, !id, NAME, family), Err(AnswerError::Stray));
        if let Ok(found) = &read {
            assert!(found.addresses.len() <= ADDRESSES_MAX);
            let mut different = found.addresses.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(different.len(), found.addresses.len());
            let of_family = |ip: &IpAddr| ip.is_ipv4() || family == Family::V6;
            assert!(found.addresses.iter().all(|ip| of_family(ip) && !ip.is_unspecified()));
            assert_eq!(answer(bytes, id, "other.test", family), Err(AnswerError::Stray));
        }
        for end in 0..bytes.len().min(64) {
            let _ = answer(&bytes[..end], id, NAME, family);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_corpus_of_dns_answers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/dns_answer");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            super::dns_answer(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 12, "only {count} seeds");
    }
}
