//! What every server holds before a request is compared.

use std::collections::BTreeSet;

use crate::support::{Client, wire};

/// What keys may begin with: each lives in another place.
pub const TAGS: [&str; 3] = ["{1d}", "{2e}", "{3f}"];

/// What keys are called, behind their tag; `none` and `dest` are missing at first.
pub const KEYS: [&str; 15] = [
    "str", "int", "list", "hash", "set", "set2", "zset", "zset2", "geo", "stream", "hll", "hll2",
    "bits", "none", "dest",
];

/// Scripts that are known, in part.
pub const SCRIPTS: [&str; 5] = [
    "return 1",
    "return {KEYS[1],ARGV[1]}",
    "return redis.call('TYPE',KEYS[1])",
    "return redis.error_reply('MINE own')",
    "nonsense",
];

/// That of the first script.
pub const DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";

/// A library with two functions.
pub const LIBRARY: &str = "#!lua name=lib\n\
    redis.register_function('f', function(keys, args) return {#keys, #args} end)\n\
    redis.register_function{function_name='g', callback=function(keys) \
    return redis.call('EXISTS', keys[1]) end, flags={'no-writes'}}";

/// What a key holds, as commands; `{}` is the key.
const VALUES: &[(&str, &[&str])] = &[
    ("str", &["SET {} hello"]),
    ("int", &["SET {} 10"]),
    ("list", &["RPUSH {} a b c 1 2"]),
    ("hash", &["HSET {} f v g 1"]),
    ("set", &["SADD {} 1 2 3"]),
    ("set2", &["SADD {} 3 4"]),
    ("zset", &["ZADD {} 1 a 2 b 3 c"]),
    ("zset2", &["ZADD {} 1 a 5 d"]),
    ("geo", &["GEOADD {} 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"]),
    (
        "stream",
        &[
            "XADD {} 1-1 f v",
            "XADD {} 2-1 f w g x",
            "XADD {} 3-1 f z",
            "XGROUP CREATE {} g 0",
            "XREADGROUP GROUP g c COUNT 1 STREAMS {} >",
        ],
    ),
    ("hll", &["PFADD {} a b c"]),
    ("hll2", &["PFADD {} c d"]),
    ("bits", &["SETBIT {} 7 1"]),
];

/// Every key there may be.
pub fn all_keys() -> impl Iterator<Item = String> {
    TAGS.into_iter().flat_map(|tag| KEYS.map(|key| format!("{tag}{key}")))
}

/// Puts these keys back to what they were.
pub fn put_back(client: &mut Client, keys: &BTreeSet<String>) {
    let unlink = ["UNLINK".to_owned()].into_iter().chain(keys.iter().cloned());
    let mut bytes = wire(&unlink.collect::<Vec<_>>());
    let mut count = 1;
    for key in keys {
        let name = TAGS.iter().find_map(|tag| key.strip_prefix(tag)).expect("a tag");
        let values = VALUES.iter().find(|(known, _)| *known == name).map_or(&[][..], |one| one.1);
        for value in values {
            let words = value.split(' ').map(|word| if word == "{}" { key } else { word });
            bytes.extend(wire(&words.collect::<Vec<_>>()));
            count += 1;
        }
    }
    client.send(bytes);
    (0..count).for_each(|_| drop(client.reply()));
}

/// Puts back what belongs to no key.
pub fn put_back_scripts(client: &mut Client) {
    let requests: [&[&str]; 4] = [
        &["SCRIPT", "FLUSH"],
        &["SCRIPT", "LOAD", SCRIPTS[0]],
        &["FUNCTION", "FLUSH"],
        &["FUNCTION", "LOAD", LIBRARY],
    ];
    requests.iter().for_each(|words| drop(client.cmd(words)));
}
