//! Timings of the pure parts of a request's way: parser, command table, slot, merging.
//!
//! The best of several runs, in nanoseconds per call. They compare two builds on one machine at
//! one time and say nothing across machines; how much a request costs in all is measured on the
//! running proxy, in instructions.

#![allow(clippy::print_stdout, reason = "this is where the figures go")]
#![allow(clippy::unwrap_used, reason = "the input is known")]

use std::hint::black_box;
use std::mem;
use std::time::Instant;

use predixy::pool::Slot;
use predixy::proxy::whole::{Memory, Whole};
use predixy::resp::command::{CommandTable, Merge};
use predixy::resp::request_parser::{Arguments, Limits, RequestParser};
use predixy::resp::response_parser::ResponseParser;
use predixy::resp::writer::Sink;

fn main() {
    let mut get = Vec::new();
    get.command(&[b"GET", b"key:000000000001"]);
    request("parse GET, key of 16 bytes", &get);
    let mut set = Vec::new();
    set.command(&[b"SET", b"key:000000000001", &[b'x'; 64]]);
    request("parse SET, value of 64 bytes", &set);
    let keys: Vec<_> = (0..10).map(|key| format!("key:{key:012}")).collect();
    let mut words = vec![&b"MGET"[..]];
    words.extend(keys.iter().map(|key| key.as_bytes()));
    let mut mget = Vec::new();
    mget.command(&words);
    request("parse MGET of 10 keys", &mget);

    let mut value = Vec::new();
    value.bulk(&[b'x'; 64]);
    reply("parse a value of 64 bytes", &value);
    reply("parse +OK", b"+OK\r\n");

    let table = CommandTable::new();
    time("find GET", || table.lookup(black_box(b"GET")).is_some());
    time("find GEORADIUSBYMEMBER", || table.lookup(black_box(b"georadiusbymember")).is_some());
    time("slot of a key of 16 bytes", || Slot::of_key(black_box(b"key:000000000001")));
    time("slot of a key with a tag", || Slot::of_key(black_box(b"{user:1000}.following")));

    let part = [b"*1\r\n", &value[..]].concat();
    let mut memory = Memory::default();
    memory.part_of_key.extend(0..10);
    time("merge MGET of 10 parts", || {
        let client = predixy::base::slab::Id::from_u64(0);
        let mut whole = Whole::new(client, 0, Merge::Concat, 10, mem::take(&mut memory));
        for index in 0..10 {
            whole.answer(index, black_box(&part));
        }
        let mut merged = Vec::new();
        whole.merge_into(&mut merged);
        memory = whole.into_memory();
        merged
    });
}

fn request(what: &str, bytes: &[u8]) {
    let (limits, mut arguments) = (Limits::default(), Arguments::default());
    time(what, || RequestParser::new().feed(black_box(bytes), &limits, &mut arguments).is_ok());
}

fn reply(what: &str, bytes: &[u8]) {
    time(what, || ResponseParser::new().feed(black_box(bytes)).is_ok());
}

/// Prints the best of so many runs; the others were disturbed.
fn time<T>(what: &str, mut call: impl FnMut() -> T) {
    const RUNS: usize = 20;
    const CALLS: u32 = 100_000;
    let mut best_ns = f64::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        let spent_ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
        best_ns = best_ns.min(spent_ns);
    }
    println!("{what:<32} {best_ns:8.1} ns");
}
