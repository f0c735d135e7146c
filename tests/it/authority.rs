//! `Authority`: who may do what to which keys, asked of every kind of pool. A table says for each
//! command what becomes of it, whoever sends it.

use crate::support::{
    AnyPool, Client, Proxy, Value, bulk, error, int, ok, original_differs, shared_cluster, simple,
    wire,
};

/// Everybody below, but nobody who has not logged in.
const AUTHORITY: &str = "Authority {
    Auth reads {
        Mode read
    }
    Auth writes {
        Mode write
    }
    Auth rules {
        Mode admin
    }
    Auth bob's {
        User bob
        Mode write
        KeyPrefix own
        ReadKeyPrefix own read
    }
}
";

/// In the order of the letters in [`REQUESTS`].
const LOGINS: [&[&str]; 5] = [
    &[],
    &["AUTH", "reads"],
    &["AUTH", "default", "writes"],
    &["AUTH", "rules"],
    &["AUTH", "bob", "bob's"],
];

/// What becomes of each request, sent by a stranger, a reader, a writer, an admin, and bob: `+`
/// it is allowed, `-` denied, `?` they have to log in first.
const REQUESTS: &[(&str, &str)] = &[
    // Anybody's.
    ("+++++", "PING"),
    ("+++++", "NOSUCH command"),
    ("+++++", "GET"),
    ("+++++", "CONFIG GET"),
    // No keys.
    ("?++++", "ECHO own"),
    ("?++++", "SELECT 0"),
    ("?++++", "COMMAND COUNT"),
    ("?++++", "INFO"),
    ("?++++", "CLIENT GETNAME"),
    ("?-+++", "UNWATCH"),
    ("?--+-", "INFO ResetStats"),
    ("?--+-", "CONFIG GET *"),
    ("?--+-", "CONFIG SET LogVerbSample 0"),
    ("?--+-", "CONFIG RESETSTAT"),
    // Keys that are not named: those of others, too.
    ("?+++-", "KEYS none*"),
    ("?+++-", "DBSIZE"),
    ("?+++-", "RANDOMKEY"),
    ("?+++-", "SCAN 0"),
    ("?-++-", "SCRIPT LOAD return"),
    ("?-++-", "EVAL return 0"),
    ("?+++-", "EVAL_RO return 0"),
    ("?--+-", "FLUSHDB nonsense"),
    // One key.
    ("?++++", "GET own{t}"),
    ("?++++", "GET owner{t}"),
    ("?++++", "GET read{t}"),
    ("?+++-", "GET other{t}"),
    ("?+++-", "GET ow"),
    ("?+++-", "GET OWN"),
    ("?-+++", "SET own{t} 1"),
    ("?-++-", "SET read{t} 1"),
    ("?-++-", "SET other{t} 1"),
    ("?-+++", "GETDEL own{t}"),
    ("?-++-", "GETDEL read{t}"),
    ("?++++", "OBJECT ENCODING read{t}"),
    ("?+++-", "OBJECT ENCODING other{t}"),
    ("?++++", "TOUCH read{t}"),
    // Several: each counts.
    ("?++++", "MGET own{t} read{t} own2"),
    ("?+++-", "MGET own{t} read{t} other2"),
    ("?+++-", "MGET other2 own{t}"),
    ("?-+++", "MSET own{t} 1 own2 2"),
    ("?-++-", "MSET own{t} 1 read2 2"),
    ("?-++-", "DEL own{t} own2 read2"),
    ("?++++", "EXISTS own{t} read2"),
    ("?+++-", "EXISTS own{t} own2 own3 x"),
    ("?-+++", "RENAME own{t} own{t}2"),
    ("?-++-", "RENAME own{t} read{t}"),
    ("?-+++", "COPY read{t} own{t}"),
    ("?-++-", "COPY own{t} read{t}"),
    ("?-+++", "SUNIONSTORE own{t} read{t} own{t}2"),
    ("?-++-", "SUNIONSTORE read{t} own{t} own{t}2"),
    ("?-++-", "SUNIONSTORE own{t} read{t} other{t}"),
    ("?-+++", "ZUNIONSTORE own{t} 2 read{t} own{t}2"),
    ("?-++-", "ZUNIONSTORE own{t} 2 read{t} other{t}"),
    ("?-+++", "BITOP AND own{t} read{t}"),
    ("?-++-", "BITOP AND read{t} own{t}"),
    ("?-+++", "SORT own{t}"),
    ("?-+++", "SORT read{t} STORE own{t}"),
    ("?-++-", "SORT own{t} STORE read{t}"),
    ("?-++-", "SORT own{t} BY other*"),
    ("?-++-", "SORT own{t} GET # GET o*"),
    ("?-+++", "GEORADIUS read{t} 0 0 1 km STORE own{t}"),
    ("?-++-", "GEORADIUS read{t} 0 0 1 km STORE read{t}"),
    ("?++++", "XREAD STREAMS own2 read3 0 0"),
    ("?+++-", "XREAD STREAMS own2 other3 0 0"),
    ("?-+++", "BLPOP own{t} own{t}2 0.01"),
    ("?-++-", "BLPOP own{t} other{t} 0.01"),
    ("?-+++", "EVAL return 2 own{t} own{t}2"),
    ("?-++-", "EVAL return 2 own{t} other{t}"),
    ("?-++-", "EVAL return 1 read{t}"),
    ("?++++", "EVAL_RO return 1 read{t}"),
    ("?-+++", "WATCH own{t} read{t}"),
    ("?-++-", "WATCH own{t} other{t}"),
    // Malformed, so that its keys cannot be told.
    ("?-+++", "EVAL return x own{t}"),
    ("?-+++", "ZUNIONSTORE own{t} 9 own{t}"),
];

const NO_AUTH: &str = "NOAUTH Authentication required.";
const DENIED: &str = "ERR auth permission deny";

/// On a cluster, on two groups and on one, with this authority.
fn each_pool(authority: &str, check: impl Fn(&str, &Proxy)) {
    let cluster = shared_cluster();
    let proxy = Proxy::start(&format!("{authority}{}", cluster.conf()));
    check("cluster", &proxy);
    check("two groups", &AnyPool::groups(2, authority).proxy);
    check("one group", &AnyPool::groups(1, authority).proxy);
}

fn verdict(reply: &Value) -> char {
    match reply.error_text() {
        Some(NO_AUTH) => '?',
        Some(DENIED) => '-',
        _ => '+',
    }
}

#[test]
fn each_identity_may_do_what_the_table_says() {
    if original_differs("D-27: only the first key counts, and nobody is told to log in") {
        return;
    }
    each_pool(AUTHORITY, |pool, proxy| {
        for (who, login) in LOGINS.iter().enumerate() {
            let mut client = proxy.client();
            if !login.is_empty() {
                assert_eq!(client.cmd(login), ok());
            }
            for (verdicts, line) in REQUESTS {
                let want = verdicts.chars().nth(who).unwrap();
                let reply = client.line(line);
                assert_eq!(verdict(&reply), want, "{pool}, {login:?}: {line}: {reply:?}");
                if line.starts_with("WATCH") && reply == ok() {
                    assert_eq!(client.line("UNWATCH"), ok());
                }
            }
            // In a transaction it is the same, and what is denied fails it.
            let inside = REQUESTS
                .iter()
                .filter(|(_, line)| line.starts_with("GET ") || line.starts_with("SET "));
            for (verdicts, line) in inside {
                let want = verdicts.chars().nth(who).unwrap();
                let replies = client.pipeline(&["MULTI", line, "EXEC"]);
                assert_eq!(verdict(&replies[1]), want, "{pool}, {login:?}: MULTI, {line}");
                // A reader has no transactions.
                if who > 1 {
                    let is_aborted = replies[2].error_text().is_some();
                    assert_eq!(is_aborted, want == '-', "{pool}, {login:?}: {line}: {replies:?}");
                }
            }
        }
    });
}

#[test]
fn a_login_holds_until_the_next_one() {
    if original_differs("D-27: a failed AUTH takes rights away; no users") {
        return;
    }
    each_pool(AUTHORITY, |pool, proxy| {
        let mut client = proxy.client();
        let wrong = || error("WRONGPASS invalid username-password pair or user is disabled.");
        let no_auth = || error(NO_AUTH);
        assert_eq!(client.line("GET own{t}"), no_auth(), "{pool}");
        for words in [
            &["AUTH", ""][..],
            &["AUTH", "write"],
            &["AUTH", "writess"],
            &["AUTH", "WRITES"],
            &["AUTH", "writes\0"],
            &["AUTH", "bob's"],
            &["AUTH", "bob", "writes"],
            &["AUTH", "default", "bob's"],
            &["AUTH", "Bob", "bob's"],
            &["AUTH", "bob", ""],
        ] {
            assert_eq!(client.cmd(words), wrong(), "{words:?}");
            assert_eq!(client.line("GET own{t}"), no_auth(), "{pool}, {words:?}");
        }
        assert_eq!(client.cmd(&["AUTH", "a", "b", "c"]), error("ERR syntax error"));
        // All in one go: each request is judged by the login before it.
        let pipeline: &[&[&str]] = &[
            &["GET", "own{t}"],
            &["AUTH", "writes"],
            &["SET", "own{t}", "1"],
            &["AUTH", "nobody"],
            &["SET", "own{t}", "2"],
            &["AUTH", "reads"],
            &["SET", "own{t}", "3"],
            &["GET", "own{t}"],
            &["AUTH", "bob", "bob's"],
            &["GET", "other{t}"],
            &["DEL", "own{t}"],
            &["PING"],
        ];
        client.send(pipeline.iter().flat_map(|words| wire(words)).collect::<Vec<u8>>());
        let denied = || error(DENIED);
        let wants = [
            no_auth(),
            ok(),
            ok(),
            wrong(),
            ok(),
            ok(),
            denied(),
            bulk("2"),
            ok(),
            denied(),
            int(1),
            simple("PONG"),
        ];
        for (want, words) in wants.iter().zip(pipeline) {
            assert_eq!(&client.reply(), want, "{pool}, {words:?}");
        }
        let mut client = proxy.client();
        client.send("AUTH bob \"bob\\x27s\"\r\nSET own{t} 1\r\nDEL own{t}\r\n");
        assert_eq!([client.reply(), client.reply(), client.reply()], [ok(), ok(), int(1)]);
        assert_eq!(client.line("QUIT"), ok());
        let mut stranger = proxy.client();
        assert_eq!(stranger.line("QUIT"), ok());
        stranger.expect_closed();
        let log = proxy.log();
        for secret in ["writes", "bob's", "nobody", "reads"] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    });
}

#[test]
fn who_has_not_logged_in_is_who_needs_no_password() {
    let authority =
        "Authority {\nAuth {\nMode read\nKeyPrefix pub\n}\nAuth all {\nMode admin\n}\n}\n";
    each_pool(authority, |pool, proxy| {
        let mut client = proxy.client();
        assert_eq!(client.line("GET public{t}"), Value::Nil, "{pool}");
        assert_eq!(client.line("GET secret{t}"), error(DENIED), "{pool}");
        assert_eq!(client.line("SET public{t} 1"), error(DENIED), "{pool}");
        assert_eq!(client.cmd(&["AUTH", "all"]), ok());
        assert_eq!(client.line("SET public{t} 1"), ok(), "{pool}");
        assert_eq!(client.line("DEL public{t}"), int(1), "{pool}");
        // The password of the default identity is the empty one.
        assert_eq!(client.cmd(&["AUTH", ""]), ok());
        assert_eq!(client.line("SET public{t} 1"), error(DENIED), "{pool}");
    });
}

#[test]
fn without_an_authority_there_is_nothing_to_log_in_to() {
    if original_differs("has words of its own, and no users") {
        return;
    }
    each_pool("", |pool, proxy| {
        let mut client: Client = proxy.client();
        let reply = client.cmd(&["AUTH", "x"]);
        let text = reply.error_text().unwrap_or_default();
        assert!(
            text.starts_with("ERR AUTH <password> called without any password"),
            "{pool}: {text}"
        );
        assert_eq!(client.cmd(&["AUTH", "default", "x"]), ok(), "{pool}");
        assert!(client.cmd(&["AUTH", "bob", "x"]).text().starts_with("WRONGPASS"), "{pool}");
        assert_eq!(client.line("CONFIG GET Name").elements().len(), 2, "{pool}");
    });
}
