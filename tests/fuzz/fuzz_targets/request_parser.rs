//! A client's bytes, cut at random: every request must be what the naive parser says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use predixy::resp::request_parser::{Arguments, Limits, Parsed, RequestParser};

#[path = "../reference.rs"]
#[allow(dead_code, reason = "each target uses its half")]
mod reference;
#[path = "../cuts.rs"]
mod cuts;

use reference::{Allowed, Request};

fuzz_target!(|input: &[u8]| {
    let [choice, seed, wire @ ..] = input else { return };
    let limits = Limits {
        bulk_max: if choice & 1 == 0 { 512 << 20 } else { 20_000 },
        arguments_max: if choice & 2 == 0 { 1 << 20 } else { 12 },
        inline_max: if choice & 4 == 0 { 64 << 10 } else { 24 },
        request_max: if choice & 8 == 0 { 1 << 30 } else { 20_000 },
        unauthenticated: choice & 16 != 0,
    };
    let allowed = Allowed {
        bulk: limits.bulk_max,
        arguments: limits.arguments_max,
        line: limits.inline_max,
        request: limits.request_max,
        unauthenticated: limits.unauthenticated,
    };
    let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
    // Where the request in progress begins, and how far the parser has been fed.
    let (mut start, mut fed) = (0, 0);
    for cut in cuts::of(wire.len(), *seed) {
        loop {
            let want = reference::request(&wire[start..cut], &allowed);
            let began_here = start == fed;
            let parsed = match parser.feed(&wire[fed..cut], &limits, &mut arguments) {
                Ok(parsed) => parsed,
                Err(error) => {
                    let Request::Refused(text) = want else { panic!("{error}, but {want:?}") };
                    assert!(
                        error.to_string().starts_with(&format!("Protocol error: {text}")),
                        "{error}: {text}"
                    );
                    return;
                }
            };
            match parsed {
                Parsed::Incomplete => {
                    assert_eq!(want, Request::Incomplete);
                    assert_eq!(parser.fed(), cut - start);
                    fed = cut;
                    break;
                }
                Parsed::Nothing { end } => {
                    fed += end;
                    assert_eq!(want, Request::Nothing(fed - start));
                }
                Parsed::Request { end } | Parsed::Inline { end } => {
                    fed += end;
                    let message = &wire[start..fed];
                    if !began_here {
                        assert_eq!(arguments.count(), 0);
                        arguments.index(message);
                    }
                    check(&arguments, message, matches!(parsed, Parsed::Inline { .. }), want);
                }
            }
            assert_eq!(parser.fed(), 0);
            start = fed;
            if fed == cut {
                break;
            }
        }
    }
});

/// The words must be the wanted ones, and what can be copied must be a request of the same words.
fn check(arguments: &Arguments, message: &[u8], inline: bool, want: Request) {
    let of = if inline { arguments.rewritten() } else { message };
    let words: Vec<_> = (0..arguments.count()).map(|i| arguments.of(of, i).to_vec()).collect();
    assert_eq!(want, Request::Words(words.clone(), message.len()));

    let mut copy = format!("*{}\r\n", words.len()).into_bytes();
    for i in 0..words.len() {
        copy.extend_from_slice(&of[arguments.encoded_range(i)]);
    }
    assert_eq!(copy, of);
    let mut again = Arguments::new();
    again.index(&copy);
    assert_eq!((0..again.count()).map(|i| again.of(&copy, i).to_vec()).collect::<Vec<_>>(), words);
}
