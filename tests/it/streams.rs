//! XREAD over slots and groups: what one server would say, word for word.

use crate::support::{
    AnyPool, Client, Proxy, RedisServer, Value, array, bulk, error, original_differs, wire,
};

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Streams in many slots, some without a single entry, and keys of other types.
fn fill(client: &mut Client) {
    for number in 0..12 {
        for entry in 1..number {
            let words = format!("XADD s{number} {entry}-1 field{entry} of{number}");
            assert_eq!(client.line(&words), bulk(format!("{entry}-1")));
        }
    }
    client.line("XADD {s2}x 1-1 f v");
    client.line("SET word w");
    client.line("RPUSH list l");
    client.line("XGROUP CREATE s5 g 0");
    client.line("XGROUP CREATE s6 g 0");
}

const READS: &[&str] = &[
    "XREAD STREAMS s2 s3 0 0",
    "XREAD STREAMS s3 s2 0 0",
    "XREAD COUNT 1 STREAMS s5 s4 s3 s2 s1 s0 0 0 0 0 0 0",
    "xread count 2 streams s11 s0 s10 s1 s9 3-1 0 5 0 5-2",
    "XREAD COUNT 0 STREAMS s4 s5 0 0",
    "XREAD COUNT -3 STREAMS s4 s5 0 0",
    "XREAD STREAMS s0 s1 none 0 0 0",
    "XREAD STREAMS s4 s5 s6 $ $ $",
    "XREAD STREAMS s4 s5 s6 $ 0 $",
    "XREAD STREAMS s4 s5 + +",
    "XREAD STREAMS s2 {s2}x s3 {s2}x 0 0 0 1",
    // The same stream more than once, and its neighbours.
    "XREAD STREAMS s4 s5 s4 0 0 0",
    "XREAD STREAMS s4 s5 s4 $ 0 0",
    "XREAD STREAMS s4 s5 s4 0 0 $",
    "XREAD STREAMS s4 s5 s4 s5 2 $ 3 1",
    "XREAD STREAMS s4 s4 0 2",
    // Errors.
    "XREAD STREAMS s4 word s5 0 0 0",
    "XREAD STREAMS s4 word s5 0 0 bad",
    "XREAD STREAMS s4 s5 word bad 0 0",
    "XREAD STREAMS word list 0 0",
    "XREAD STREAMS s4 s5 bad 0",
    "XREAD STREAMS s4 s5 > 0",
    "XREAD STREAMS s4 s5 0 99999999999999999999",
    "XREAD COUNT x STREAMS s4 s5 0 0",
    "XREAD NOSUCH STREAMS s4 s5 0 0",
    "XREAD STREAMS s4",
    "XREADGROUP GROUP g c STREAMS s5 >",
    "XREADGROUP GROUP g c COUNT 1 STREAMS s6 >",
    "XREADGROUP GROUP g c STREAMS s5 0",
];

#[test]
fn streams_are_read_as_from_one_server() {
    if original_differs("has no streams") {
        return;
    }
    let direct = RedisServer::start();
    let mut client = direct.client();
    fill(&mut client);
    let wants: Vec<Value> = READS.iter().map(|line| client.line(line)).collect();
    assert_eq!(wants[0].elements().len(), 2);
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        fill(&mut client);
        for (line, want) in READS.iter().zip(&wants) {
            assert_eq!(&client.line(line), want, "{line}");
        }
        client.line("DEL s5 s6");
        fill_groups(&mut client);
        let readings = READS.iter().filter(|line| !line.starts_with("XREADGROUP"));
        let bytes: Vec<u8> =
            readings.flat_map(|line| wire(&line.split(' ').collect::<Vec<_>>())).collect();
        client.send(bytes);
        for (line, want) in READS.iter().zip(&wants) {
            if !line.starts_with("XREADGROUP") {
                assert_eq!(&client.reply(), want, "{line}");
            }
        }
    });
}

fn fill_groups(client: &mut Client) {
    for number in [5, 6] {
        for entry in 1..number {
            client.line(&format!("XADD s{number} {entry}-1 field{entry} of{number}"));
        }
    }
}

#[test]
fn large_answers_are_put_together_too() {
    if original_differs("has no streams") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let value = "v".repeat(50_000);
        let keys: Vec<String> = (0..6).map(|number| format!("large{number}")).collect();
        let entry = |id: &str| array([bulk(id), array([bulk("f"), bulk(&value)])]);
        for key in &keys {
            for id in ["1-1", "2-1"] {
                assert_eq!(client.cmd(&["XADD", key, id, "f", &value]), bulk(id));
            }
        }
        let mut words = vec!["XREAD", "STREAMS"];
        words.extend(keys.iter().map(String::as_str));
        words.extend(["0", "1-1", "2-1", "$", "1", "0"]);
        let told = |key: usize, entries: &[&str]| {
            array([bulk(&keys[key]), array(entries.iter().map(|id| entry(id)))])
        };
        let both = ["1-1", "2-1"];
        let want = array([told(0, &both), told(1, &both[1..]), told(4, &both), told(5, &both)]);
        assert_eq!(client.cmd(&words), want);
    });
}

#[test]
fn what_waits_or_changes_something_is_not_divided() {
    if original_differs("has no streams") {
        return;
    }
    for pool in [AnyPool::cluster(), AnyPool::groups(2, "")] {
        let mut client = pool.proxy.client();
        fill(&mut client);
        // One of each place.
        let (one, other) = ("s5", "s6");
        for line in [
            format!("XREAD BLOCK 1 STREAMS {one} {other} 0 0"),
            format!("XREADGROUP GROUP g c STREAMS {one} {other} > >"),
            format!("XREADGROUP GROUP g c BLOCK 1 STREAMS {one} {other} > >"),
        ] {
            assert_eq!(client.line(&line), error(CROSS_SLOT), "{line}");
        }
        let replies = client.pipeline(&["MULTI", "XREAD STREAMS s5 s6 0 0", "EXEC"]);
        assert_eq!(replies[1], error(CROSS_SLOT));
        assert!(replies[2].text().starts_with("EXECABORT"));
    }
}

#[test]
fn rights_are_those_to_all_streams() {
    let server = RedisServer::start();
    let address = server.address();
    let proxy = Proxy::start(&format!(
        "Authority {{\nAuth {{\nMode read\nKeyPrefix mine\n}}\n}}\n\
         StandaloneServerPool {{\nRefreshMethod fixed\nGroup one {{\n+ {address}\n}}\n}}\n"
    ));
    let mut client = proxy.client();
    let denied = || error("ERR auth permission deny");
    if original_differs("has no streams") {
        return;
    }
    assert_eq!(client.line("XREAD STREAMS mine:1 mine:2 0 0"), Value::NilArray);
    assert_eq!(client.line("XREAD STREAMS mine:1 other 0 0"), denied());
    assert_eq!(client.line("XREAD STREAMS other mine:1 0 0"), denied());
    assert_eq!(client.line("XREADGROUP GROUP g c STREAMS mine:1 >"), denied());
}
