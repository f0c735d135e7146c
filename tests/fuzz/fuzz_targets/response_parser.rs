//! A server's bytes, cut at random: every reply must end where the naive parser says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use predixy::resp::redirect::{ErrorKind, Redirect};
use predixy::resp::reply::Reply;
use predixy::resp::response_parser::{ReplyError, ResponseParser};

#[path = "../reference.rs"]
#[allow(dead_code, reason = "each target uses its half")]
mod reference;
#[path = "../cuts.rs"]
mod cuts;

use reference::Stopped;

fuzz_target!(|input: &[u8]| {
    let [_, seed, wire @ ..] = input else { return };
    let mut parser = ResponseParser::new();
    // Where the reply in progress begins, and how far the parser has been fed.
    let (mut start, mut fed) = (0, 0);
    for cut in cuts::of(wire.len(), *seed) {
        loop {
            let want = reference::reply(&wire[..cut], start);
            match parser.feed(&wire[fed..cut]) {
                // The naive parser does not count them: it waits, or stumbles over something later.
                Err(ReplyError::TooManyValues) => return assert!(want.is_err()),
                Err(_) => return assert_eq!(want, Err(Stopped::Broken)),
                Ok(None) => {
                    assert_eq!(want, Err(Stopped::Incomplete));
                    assert_eq!(parser.fed(), (cut - start) as u64);
                    fed = cut;
                    break;
                }
                Ok(Some(end)) => {
                    fed += end;
                    assert_eq!(want, Ok(fed));
                    assert_eq!(parser.fed(), 0);
                    look_at(&wire[start..fed]);
                    start = fed;
                    if fed == cut {
                        break;
                    }
                }
            }
        }
    }
});

/// Looks at a complete reply in every way there is; its elements must fill it.
fn look_at(wire: &[u8]) {
    let _ = (ErrorKind::of(wire), Redirect::parse(wire));
    let reply = Reply::new(wire);
    let _ = (reply.kind(), reply.integer(), reply.text());
    if let Some(mut elements) = reply.elements() {
        let mut end = None;
        while let Some(range) = elements.next_range() {
            assert!(end.is_none_or(|end| end == range.start));
            end = Some(range.end);
        }
        assert_eq!(elements.left(), 0);
        assert!(end.is_none_or(|end| end == reply.bytes().len()));
    }
}
