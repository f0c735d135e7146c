//! Commands that the configuration adds, and those that it takes away.

use crate::support::{
    Answer, AnyPool, FakeServer, Proxy, array, bulk, error, key_in_slots, ok, original_differs,
    simple,
};

/// Five in two blocks, with their keys in all places where they may be.
const CUSTOM: &str = "CustomCommand {\n\
     mine.plain {\n}\n\
     Mine.Second {\nMode read|keyAt2\nMinArgs 3\nMaxArgs 4\n}\n}\n\
     CustomCommand {\n\
     MINE.THIRD.WITH.A.NAME.OF.MORE.THAN.32.BYTES {\nMode write|keyAt3\nMinArgs 4\nMaxArgs 4\n}\n\
     mine.admin {\nMode admin\nMinArgs 2\nMaxArgs 9999\n}\n\
     mine.none {\nMode read\nMinArgs 1\nMaxArgs 1\n}\n}\n";

#[test]
fn d53_custom_commands_go_where_their_key_is() {
    if original_differs("D-53: takes one block and lower case only") {
        return;
    }
    let fakes = FakeServer::start_cluster(2, |index, heard| {
        if heard.name().starts_with("MINE.") {
            return Answer::bulk(format!("{index} {}", heard.words.len()));
        }
        Answer::Usual
    });
    let proxy = Proxy::start(&format!("{CUSTOM}{}", FakeServer::conf(&fakes, "")));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    for (index, slots) in [(0, 0..8192), (1, 8192..16384)] {
        let (key, other) = (key_in_slots(slots, "own"), key_in_slots(16384 - 100..16384, "x"));
        let third = "mine.third.with.a.name.of.more.than.32.bytes";
        let requests = [
            vec!["mine.plain", &key],
            vec!["MINE.PLAIN", &key],
            vec!["mine.second", &other, &key],
            vec!["Mine.Second", &other, &key, "more"],
            vec![third, &other, &other, &key],
            vec!["mine.admin", &key],
            vec!["mine.admin", &key, &other, &other, &other],
        ];
        for words in requests {
            let want = bulk(format!("{index} {}", words.len()));
            assert_eq!(client.cmd(&words), want, "{words:?}");
            // As a line of words, too.
            assert_eq!(client.line(&words.join(" ")), want, "{words:?}");
        }
    }
    assert!(client.line("mine.none").text().ends_with(" 1"));
    let arity = |name: &str| error(&format!("ERR wrong number of arguments for '{name}' command"));
    for line in ["mine.plain", "mine.plain a b"] {
        assert_eq!(client.line(line), arity("mine.plain"), "{line}");
    }
    for line in ["MINE.SECOND a", "mine.second a b c d"] {
        assert_eq!(client.line(line), arity("mine.second"), "{line}");
    }
    assert_eq!(client.line("mine.none x"), arity("mine.none"));
}

#[test]
fn what_is_disabled_is_refused_wherever_it_is_said() {
    if original_differs("disables nothing") {
        return;
    }
    let lines = "DisabledCommands {\n+ keys\n+ CONFIG|SET\n+ object\n+ blpop\n}\n\
                 DisabledCommands {\n+ publish\n+ eval\n}";
    let pool = AnyPool::groups(2, lines);
    let refused = |name: &str| {
        error(&format!("ERR command '{name}' is disabled in the configuration of the proxy"))
    };
    for version in ["2", "3"] {
        let mut client = pool.proxy.client();
        client.line(&format!("HELLO {version}"));
        for (words, name) in [
            (&["KEYS", "*"][..], "keys"),
            (&["config", "set", "Name", "x"], "config set"),
            (&["OBJECT", "ENCODING", "k"], "object"),
            (&["object", "nonsense"], "object"),
            (&["blpop", "k", "0"], "blpop"),
            (&["PUBLISH", "c", "m"], "publish"),
            (&["eval", "return 1", "0"], "eval"),
        ] {
            assert_eq!(client.cmd(words), refused(name), "{words:?}");
        }
        // What stands beside it is as it was.
        let beside = client.pipeline(&["SET k 1", "keys k", "GET k", "EVALSHA x 1 k", "PING"]);
        assert_eq!(beside[..3], [ok(), refused("keys"), bulk("1")]);
        assert_eq!(beside[4], simple("PONG"));
        assert_ne!(beside[3], refused("evalsha"));
        assert!(client.line("CONFIG GET Name").error_text().is_none());
        // In a transaction it fails what it is part of.
        let replies = client.pipeline(&["MULTI", "SET k 2", "publish c m", "EXEC", "GET k"]);
        assert_eq!(replies[2], refused("publish"));
        let abort = error("EXECABORT Transaction discarded because of previous errors.");
        assert_eq!(replies[3..], [abort, bulk("1")]);
        assert_eq!(client.pipeline(&["MULTI", "GET k", "EXEC"])[2], array([bulk("1")]));
    }
}
