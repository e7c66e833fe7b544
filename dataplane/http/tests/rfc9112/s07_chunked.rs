//! §7: the chunked coding.

use super::*;
use proptest::prelude::*;

fn verbatim(bytes: &[u8]) -> Result<(Vec<u8>, BodyDecoder), BodyError> {
    decode([bytes], Framing::Chunked, Output::Verbatim)
}

fn data(bytes: &[u8]) -> Result<(Vec<u8>, BodyDecoder), BodyError> {
    decode([bytes], Framing::Chunked, Output::Data)
}

/// Refused whole and byte by byte, for either output, with the same error.
fn refuse(bytes: impl AsRef<[u8]>) -> BodyError {
    let bytes = bytes.as_ref();
    let error = verbatim(bytes).expect_err(&show(bytes));
    assert_eq!(data(bytes).expect_err(&show(bytes)), error);
    assert_eq!(decode(bytes.chunks(1), Framing::Chunked, Output::Verbatim).expect_err(&show(bytes)), error);
    error
}

#[test]
fn chunks() {
    let bytes = b"5\r\nhello\r\n00000A\r\n0123456789\r\n0\r\n\r\nGET /";
    let (out, decoder) = verbatim(bytes).unwrap();
    assert_eq!((show(&out), decoder.is_done(), decoder.data_bytes()), (show(&bytes[..bytes.len() - 5]), true, 15));
    let (out, _) = data(bytes).unwrap();
    assert_eq!(show(&out), "hello0123456789");
}

#[test]
fn a_clean_body_is_one_range() {
    let bytes = b"5\r\nhello\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\nGET /";
    let mut decoder = BodyDecoder::new(Framing::Chunked, Output::Verbatim);
    let decoded = decoder.decode(bytes).unwrap();
    assert_eq!((decoded.consumed, decoded.forward, decoded.done), (bytes.len() - 5, 0..bytes.len() - 5, true));
}

#[test]
fn a_body_is_unfinished_at_every_cut() {
    let bytes = b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..bytes.len() {
        let (_, decoder) = verbatim(&bytes[..end]).unwrap();
        assert_eq!((decoder.is_done(), decoder.on_eof()), (false, Err(BodyError::Truncated)), "{end}");
    }
}

#[test]
fn row_06_chunk_sizes_outside_the_grammar() {
    for line in [
        "",
        ";a",
        " 5",
        "5 ",
        "\t5",
        "0x5",
        "+5",
        "-5",
        "5_0",
        "g",
        "00000000000000005",
        "FFFFFFFFFFFFFFFFF",
        "8000000000000000",
        "FFFFFFFFFFFFFFFF",
        "5 5",
        "5,5",
        "\u{665}",
        "5\0",
        "5 ;a",
        " ;a",
        "\"5\"",
    ] {
        assert_eq!(refuse(format!("{line}\r\nhello\r\n0\r\n\r\n")), BodyError::ChunkSize, "{line:?}");
        assert_eq!(refuse(format!("1\r\na\r\n{line}\r\nhello\r\n0\r\n\r\n")), BodyError::ChunkSize, "{line:?}");
    }
    let (_, decoder) = verbatim(b"7FFFFFFFFFFFFFFF\r\nhello").unwrap();
    assert_eq!((decoder.data_bytes(), decoder.is_done()), (5, false));
    let (out, decoder) = data(b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n").unwrap();
    assert_eq!((out.as_slice(), decoder.is_done()), (b"hello" as &[u8], true));
}

#[test]
fn row_06_an_empty_size_line_is_not_the_last_chunk() {
    assert_eq!(refuse("\r\n\r\n"), BodyError::ChunkSize);
    assert_eq!(refuse("5\r\nhello\r\n\r\n\r\n"), BodyError::ChunkSize);
}

#[test]
fn row_07_extensions_are_validated_and_left_out() {
    for extension in [";a", ";a=b", ";a=\"b c;\\\"\r\"", ";a;b=c;d", ";a=\"\"", ";a=\"\t\u{e4}\"", ";!#$%&'*+-.^_`|~=1"]
    {
        let whole = format!("5{extension}\r\nhello\r\n0{extension}\r\nA: b\r\n\r\n");
        if extension.contains('\r') {
            assert_eq!(refuse(&whole), BodyError::ChunkExtension);
            continue;
        }
        let (out, decoder) = verbatim(whole.as_bytes()).unwrap();
        assert_eq!((show(&out), decoder.is_done()), ("5\r\nhello\r\n0\r\nA: b\r\n\r\n".into(), true), "{extension}");
        assert_eq!(data(whole.as_bytes()).unwrap().0, b"hello");
    }
    for extension in [
        ";",
        ";;",
        ";a;",
        ";a=",
        ";=b",
        ";a=;",
        "; a",
        ";a =b",
        ";a= b",
        ";a b",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=b=c",
        ";a,b",
        ";a\0",
        ";a=\"\x7f\"",
        ";a=\"\0\"",
    ] {
        assert_eq!(refuse(format!("5{extension}\r\nhello\r\n0\r\n\r\n")), BodyError::ChunkExtension, "{extension:?}");
    }
}

#[test]
fn row_07_extensions_with_bare_line_ends() {
    for extension in [";a\n", ";a\nb", ";\n", ";a=\"b\nc\"", ";a=\"b\\\n\"", ";a=\n"] {
        assert_eq!(refuse(format!("5{extension}\r\nhello\r\n0\r\n\r\n")), BodyError::ChunkExtension, "{extension:?}");
    }
    for line in ["5\n", "5\r\r\n", "5\rx", "5;a\r", "5;a\rb"] {
        let error = refuse(format!("{line}hello\r\n0\r\n\r\n"));
        assert!(matches!(error, BodyError::ChunkSize | BodyError::ChunkLineEnd), "{line:?}: {error:?}");
    }
}

#[test]
fn row_07_extensions_have_a_budget() {
    let chunk =
        |extension: usize, data: usize| format!("{data:x};{}\r\n{}\r\n", "a".repeat(extension), "d".repeat(data));
    assert!(verbatim(chunk(255, 1).as_bytes()).is_ok());
    assert_eq!(refuse(chunk(256, 1)), BodyError::ChunkExtensionTooLong);
    // Many small ones, with little data between them.
    assert_eq!(refuse(chunk(200, 1).repeat(100)), BodyError::ChunkExtensionTooLong);
    // As many, with as much data.
    assert!(verbatim(chunk(200, 200).repeat(200).as_bytes()).is_ok());
}

#[test]
fn row_08_data_that_its_crlf_does_not_follow() {
    for bytes in [
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\rX",
        "5\r\nhello!\r\n",
        "5\r\nhello\n\r\n",
    ] {
        assert_eq!(refuse(bytes), BodyError::ChunkDataEnd, "{bytes:?}");
    }
}

#[test]
fn row_13_trailers_that_frame_route_or_authenticate_are_dropped() {
    let bytes = b"0\r\nA: b\r\nContent-Length: 5\r\nhost: x\r\nGrpc-Status: 0\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\n\
        X-Forwarded-Client-Cert: x\r\nX-Forwarded-For: x\r\nConnection: close\r\nContent-MD5: y\r\nTrailer: z\r\n\r\n";
    let kept = "0\r\nA: b\r\nGrpc-Status: 0\r\nContent-MD5: y\r\n\r\n";
    let (out, decoder) = verbatim(bytes).unwrap();
    assert_eq!((show(&out), decoder.is_done()), (kept.into(), true));
    // Cut anywhere, the same lines are left; a name that was cut may be in lower case.
    for cut in 0..bytes.len() {
        let (out, decoder) = decode([&bytes[..cut], &bytes[cut..]], Framing::Chunked, Output::Verbatim).unwrap();
        assert_eq!((show(&out).to_lowercase(), decoder.is_done()), (kept.to_lowercase(), true), "{cut}");
    }
    let (out, _) = decode(bytes.chunks(1), Framing::Chunked, Output::Verbatim).unwrap();
    assert_eq!(show(&out).to_lowercase(), kept.to_lowercase());
    assert_eq!(data(bytes).unwrap().0, b"");
}

#[test]
fn malformed_trailers() {
    for trailer in [
        ": b\r\n",
        "A b\r\n",
        "A : b\r\n",
        " A: b\r\n",
        "A\r\n",
        "\0: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "\n",
    ] {
        assert_eq!(refuse(format!("0\r\n{trailer}\r\n")), BodyError::TrailerName, "{trailer:?}");
    }
    for trailer in ["A: b\n", "A: b\rc\r\n", "A: \0\r\n", "A: \x7f\r\n", "Host: \n\r\n", "A: b\r\r\n"] {
        assert_eq!(refuse(format!("0\r\n{trailer}\r\n")), BodyError::TrailerValue, "{trailer:?}");
    }
    assert_eq!(refuse("0\r\n\rX"), BodyError::TrailerName);
}

#[test]
fn row_39_trailers_have_a_budget() {
    let lines = |n: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(n));
    assert!(verbatim(lines(100).as_bytes()).unwrap().1.is_done());
    assert_eq!(refuse(lines(101)), BodyError::TrailersTooLong);
    let long = |n: usize| format!("0\r\nA: {}", "b".repeat(n));
    assert!(verbatim(long((60 << 10) - 3).as_bytes()).is_ok());
    assert_eq!(verbatim(long((60 << 10) - 2).as_bytes()).err(), Some(BodyError::TrailersTooLong));
}

/// Chunked bodies as a peer might send them, with what is in them.
fn bodies() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = prop_oneof![Just(""), Just(""), Just(";a"), Just(";a=b;c=\"d\\\" ;\"")];
    let chunk = (proptest::collection::vec(any::<u8>(), 1..40), extension, 0..3usize);
    let trailer = prop_oneof![
        Just(""),
        Just("x: y\r\n"),
        Just("Host: a\r\n"),
        Just("Content-Lengths: 5\r\nTE: z\r\nx-for: a\r\n")
    ];
    (proptest::collection::vec(chunk, 0..6), trailer).prop_map(|(chunks, trailer)| {
        let (mut wire, mut data) = (Vec::new(), Vec::new());
        for (bytes, extension, zeros) in chunks {
            wire.extend_from_slice(format!("{}{:X}{extension}\r\n", "0".repeat(zeros), bytes.len()).as_bytes());
            wire.extend_from_slice(&bytes);
            wire.extend_from_slice(b"\r\n");
            data.extend_from_slice(&bytes);
        }
        wire.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
        (wire, data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_in_any_pieces_gives_its_data((wire, wanted) in bodies(), first in any::<prop::sample::Index>(), size in 1..9usize) {
        let (out, decoder) = data(&wire).unwrap();
        prop_assert_eq!((&out, decoder.is_done(), decoder.data_bytes()), (&wanted, true, wanted.len() as u64));
        let cut = first.index(wire.len());
        for pieces in [vec![&wire[..cut], &wire[cut..]], wire.chunks(size).collect()] {
            prop_assert_eq!(&decode(pieces.iter().copied(), Framing::Chunked, Output::Data).unwrap().0, &wanted);
            let (out, decoder) = decode(pieces, Framing::Chunked, Output::Verbatim).unwrap();
            prop_assert!(decoder.is_done());
            // What goes on is a chunked body with the same data, and nothing in it is left out again.
            prop_assert_eq!(&data(&out).unwrap().0, &wanted);
            prop_assert_eq!(&verbatim(&out).unwrap().0, &out);
        }
        ringway_http::fuzz::chunked(&wire);
    }

    #[test]
    fn damaged_bodies_break_no_invariant((mut wire, _) in bodies(), at in any::<prop::sample::Index>(), byte in prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b';')]) {
        let at = at.index(wire.len());
        wire[at] = byte;
        ringway_http::fuzz::chunked(&wire);
    }
}
