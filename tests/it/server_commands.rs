//! Commands that concern a server as a whole: asked from one, answered by the proxy, or refused
//! with the reason.

use crate::support::{AnyPool, Value, array, bulk, error, int, ok, original_differs, simple};

fn skip() -> bool {
    original_differs("knows none of them")
}

#[test]
fn the_time_is_that_of_a_server_and_never_goes_back() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let us = |value: &crate::support::Value| {
            let parts: Vec<u64> =
                value.elements().iter().map(|part| part.text().parse().unwrap()).collect();
            parts[0] * 1_000_000 + parts[1]
        };
        let mut last = us(&pool.masters()[0].line("TIME"));
        for _ in 0..100 {
            let now = us(&client.line("TIME"));
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        assert_eq!(
            client.line("TIME x"),
            error("ERR wrong number of arguments for 'time' command")
        );
        // Inside a transaction it is one of the commands that its server executes.
        let replies = client.pipeline(&["MULTI", "TIME", "EXEC"]);
        assert_eq!(replies[..2], [ok(), simple("QUEUED")]);
        assert!(us(&replies[2].elements()[0]) >= last);
    });
}

/// Which of several masters is asked does not change from one TIME to the next.
#[test]
fn it_is_always_the_same_server_that_tells_the_time() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(2, "");
    for _ in 0..20 {
        pool.proxy.client().line("TIME");
    }
    let asked = |info: String| info.contains("cmdstat_time:");
    let masters: Vec<bool> = (pool.masters().iter_mut())
        .map(|master| asked(master.line("INFO commandstats").text()))
        .collect();
    assert_eq!(masters.iter().filter(|asked| **asked).count(), 1, "{masters:?}");
}

#[test]
fn memory_is_told_where_one_server_has_it_all() {
    if skip() {
        return;
    }
    let one = AnyPool::groups(1, "");
    let mut client = one.proxy.client();
    client.line("SET k v");
    assert!(client.line("MEMORY USAGE k").number() > 10);
    assert!(client.line("MEMORY USAGE k SAMPLES 5").number() > 10);
    assert!(client.line("MEMORY DOCTOR").text().contains("Sam"));
    assert!(client.line("MEMORY STATS").elements().len() > 10);
    assert!(client.line("MEMORY MALLOC-STATS").text().len() > 10);
    for pool in [AnyPool::groups(2, ""), AnyPool::cluster()] {
        let mut client = pool.proxy.client();
        client.line("SET k v");
        assert!(client.line("MEMORY USAGE k").number() > 10);
        for name in ["doctor", "stats", "malloc-stats"] {
            let told = format!(
                "ERR command 'memory {name}' is not available through the proxy: several servers \
                 share the keys"
            );
            assert_eq!(client.line(&format!("MEMORY {name}")), error(&told));
        }
    }
}

#[test]
fn the_oldest_save_counts() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let oldest = pool.masters().iter_mut().map(|master| master.line("LASTSAVE").number()).min();
        assert_eq!(pool.proxy.client().line("LASTSAVE"), int(oldest.unwrap()));
    });
}

#[test]
fn who_a_client_is() {
    if skip() {
        return;
    }
    let one = AnyPool::groups(1, "");
    assert_eq!(one.proxy.client().line("ACL WHOAMI"), bulk("default"));
    let authority = "Authority {\n    Auth {\n        Mode read\n    }\n    Auth secret {\n        \
                     Mode write\n        User alice\n    }\n}\n";
    let pool = AnyPool::groups(1, authority);
    let mut client = pool.proxy.client();
    assert_eq!(client.line("ACL WHOAMI"), bulk("default"));
    assert_eq!(client.line("AUTH alice secret"), ok());
    assert_eq!(client.line("ACL WHOAMI"), bulk("alice"));
}

#[test]
fn each_refusal_says_why() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    let told = |name: &str, why: &str| {
        error(&format!("ERR command '{name}' is not available through the proxy: {why}"))
    };
    let one_server = "it concerns one server, which has to be asked directly";
    let connection = "it concerns the connection to a server, which clients share";
    for (line, name, why) in [
        ("SHUTDOWN NOSAVE", "shutdown", one_server),
        ("DEBUG SLEEP 0", "debug", one_server),
        ("BGSAVE", "bgsave", one_server),
        ("ACL LIST", "acl list", one_server),
        ("MODULE LIST", "module list", one_server),
        ("WAIT 1 0", "wait", connection),
        ("WAITAOF 1 0 0", "waitaof", connection),
        ("PSYNC ? -1", "psync", connection),
    ] {
        assert_eq!(client.line(line), told(name, why));
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn lolwut_is_drawn() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(1, "");
    assert!(pool.proxy.client().line("LOLWUT").text().contains("ver"));
}

#[test]
fn commands_that_ask_for_help_are_helped() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
    for line in [
        "OBJECT HELP",
        "XINFO HELP",
        "XGROUP HELP",
        "MEMORY HELP",
        "SCRIPT HELP",
        "COMMAND HELP",
        "PUBSUB HELP",
    ] {
        assert_eq!(client.line(line), real.line(line), "{line}");
    }
    assert_eq!(client.line("OBJECT HELP x"), real.line("OBJECT HELP x"));
    assert_ne!(client.line("CLUSTER HELP"), array([]));
}

#[test]
fn latency_is_that_of_the_servers() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        assert_eq!(client.line("LATENCY LATEST"), array([]));
        for master in &mut pool.masters() {
            assert_eq!(master.line("CONFIG SET latency-monitor-threshold 1"), ok());
            let slow = "local i = 0 while i < 5000000 do i = i + 1 end return i";
            assert_eq!(master.cmd(&["EVAL", slow, "0"]), int(5_000_000));
        }
        let count = pool.masters().len();
        let latest = client.line("LATENCY LATEST");
        // On a busy machine there may be others.
        let is_ours = |event: &&Value| event.elements()[0] == bulk("command");
        assert_eq!(latest.elements().iter().filter(is_ours).count(), count, "{latest:?}");
        let history = client.line("LATENCY HISTORY command");
        assert!(history.elements().len() >= count, "{history:?}");
        let doctor = client.line("LATENCY DOCTOR");
        if count == 1 {
            assert!(doctor.text().contains("latency"), "{doctor:?}");
        } else {
            let told = "ERR command 'latency doctor' is not available through the proxy: several \
                        servers share the keys";
            assert_eq!(doctor, error(told));
        }
        assert!(client.line("LATENCY RESET").number() >= i64::try_from(count).unwrap());
        assert_eq!(client.line("LATENCY LATEST"), array([]));
        assert_eq!(client.line("LATENCY HELP"), pool.masters()[0].line("LATENCY HELP"));
    });
}
