//! What a proxy in front of us sends: the answer does not depend on how it is cut, an error stays one,
//! and a header is what it says and no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use predixy::proxy::proxy_header::{HEADER_MAX, Header, HeaderError, Parsed, parse};
use predixy::sys::Peer;

fuzz_target!(|input: &[u8]| {
    // Where it is first known what it is.
    let (mut end, mut answer) = (0, parse(&[]));
    assert_eq!(answer, Ok(Parsed::Incomplete));
    while answer == Ok(Parsed::Incomplete) && end < input.len() {
        end += 1;
        answer = parse(&input[..end]);
    }
    match &answer {
        Ok(Parsed::Incomplete) => assert!(input.len() < HEADER_MAX, "it waits for ever"),
        Ok(Parsed::Header(header)) => {
            assert_eq!(header.length, end, "it is whole with its last byte");
            assert_eq!(parse(input), answer, "what follows changes nothing");
            check(header, &input[..end]);
        }
        Err(error) => {
            // More may come in the message, but not another verdict.
            let whole = parse(input).expect_err("what was wrong is right with more behind it");
            assert_eq!(std::mem::discriminant(&whole), std::mem::discriminant(error));
            check_text(error);
        }
    }
});

fn check(header: &Header<'_>, bytes: &[u8]) {
    if let Some(name) = header.common_name {
        assert!(!name.is_empty() && bytes.windows(name.len()).any(|window| window == name));
    }
    if let (Some(Peer::Ip(source)), Some(destination), Ok(line)) =
        (&header.source, header.destination, std::str::from_utf8(bytes))
        && line.starts_with("PROXY TCP4 ")
    {
        let (from, to) = (source.ip(), destination.ip());
        let ports = format!("{} {}", source.port(), destination.port());
        assert_eq!(line, format!("PROXY TCP4 {from} {to} {ports}\r\n"));
    }
}

fn check_text(error: &HeaderError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 1000 && !text.contains(['\r', '\n']), "{text:?}");
}
