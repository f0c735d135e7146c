//! Groups that Sentinel looks after: discovery, failover, disagreement, passwords.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::{
    Address, Answer, Client, FakeServer, Group, Key, Proxy, RedisSentinel, RedisServer, SOON,
    Secrets, ServerLine, Tally, Value, Watched, Writers, bulk, error, monitor_lines, ok,
    original_differs, wait_until,
};

/// A pool that tries again soon.
const BRISK: &str = "    RefreshInterval 200ms\n    ServerRetryTimeout 50ms";

fn proxy_for(watched: &Watched, lines: &str) -> Proxy {
    let conf = watched.conf(&format!("{BRISK}\n{lines}"));
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{conf}"));
    proxy.wait_for_servers(watched.servers());
    proxy
}

/// How long Sentinels may take to replace a master. On a machine so busy that their own clocks
/// seem to jump they do nothing for half a minute.
const FAILOVER: Duration = Duration::from_secs(60);

/// When somebody who asks a Sentinel all the time is first able to write.
fn write_directly(sentinel: &RedisSentinel, group: &str, from: Instant) -> Duration {
    let mut asks = sentinel.client();
    wait_until(FAILOVER, "a direct write", || {
        let reply = asks.cmd(&["SENTINEL", "get-master-addr-by-name", group]);
        let Ok(port) = reply.elements()[1].text().parse() else { return false };
        let Ok(mut client) = Client::try_connect(&Address::Tcp(port)) else { return false };
        client.set_deadline(Duration::from_millis(50));
        client.try_cmd(&["SET", "direct", "1"]) == Ok(ok())
    });
    from.elapsed()
}

/// Has writers write to so many groups while `harm` befalls the master of the first, and checks
/// every reply, and what is left.
fn check_failover(
    what: &str,
    groups: usize,
    harm: impl FnOnce(&mut RedisServer),
    undo: impl FnOnce(&mut RedisServer),
) {
    let mut watched = Watched::start(3, groups, 2);
    let proxy = proxy_for(&watched, "");
    let tally = Tally::with_refusals(&["READONLY "]);
    let keys = Writers::keys(|writer, number| {
        let group = number % groups;
        let key = Key::new(watched.key_on(group, &format!("w{writer}:{number}:")), group == 0);
        // What the replica did not have yet when its master went is lost.
        key.license().grant(u32::from(group == 0));
        key
    });
    let mut master = 0;
    let mut keys = Writers::new(keys).work(proxy.address(), &tally, || {
        let began = Instant::now();
        harm(&mut watched.groups[0].servers[0]);
        let direct = write_directly(&watched.sentinels[0], "g0", began);
        master = watched.wait_for_new_master(0, 0);
        let address = watched.groups[0].servers[master].address();
        let is_new = |server: &ServerLine| server.address == address && server.role == "master";
        wait_until(SOON, "the proxy to know the new master", || {
            proxy.servers().iter().any(is_new)
        });
        let known = began.elapsed();
        wait_until(SOON, "the first accepted write", || {
            tally.first_served_after(began + direct).is_some()
        });
        let gap = tally.longest_gap();
        eprintln!(
            "{what}, {groups} groups: direct discovery writes after {direct:?}; longest gap of the proxy's clients {gap:?}; in INFO after {known:?}"
        );
        // With the old master still gone.
        tally.some_more();
    });
    // Each writer must have got going again, also one whose reply never came.
    undo(&mut watched.groups[0].servers[0]);
    let mut client = proxy.client();
    for key in &mut keys {
        key.look(&mut client, &tally);
        if !key.is_watched() {
            assert_eq!(key.errors(), 0, "{} is of another group", key.name());
            continue;
        }
        let direct = watched.groups[0].servers[master].client().cmd(&["GET", key.name()]);
        assert_eq!(client.cmd(&["GET", key.name()]), direct, "{}", key.name());
    }
    eprintln!("{what}, {groups} groups: in the end {}", tally.told());
}

#[test]
fn a_master_that_is_killed_is_replaced() {
    if original_differs("it needs a refresh, and two masters fight") {
        return;
    }
    for groups in [1, 3] {
        check_failover("kill -9", groups, RedisServer::kill, |_| ());
    }
}

#[test]
fn a_master_that_stands_still_is_replaced() {
    if original_differs("writers wait for ever") {
        return;
    }
    for groups in [1, 3] {
        check_failover("SIGSTOP", groups, |server| server.pause(), |server| server.resume());
    }
}

#[test]
fn a_failover_by_hand_is_followed_at_once() {
    if original_differs("D-22: no subscription") {
        return;
    }
    let watched = Watched::start(3, 1, 2);
    // Nothing but the message can be so quick.
    let conf = watched.conf("    RefreshInterval 60");
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{conf}"));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.line("SET k 1"), ok());
    wait_until(SOON, "one sentinel to be listened to", || {
        watched.sentinels.iter().map(RedisSentinel::listeners).sum::<usize>() == 1
    });
    wait_until(SOON, "the sentinel to agree", || {
        watched.sentinels[0].client().line("SENTINEL FAILOVER g0") == ok()
    });
    let master = watched.wait_for_new_master(0, 0);
    let address = watched.groups[0].servers[master].address();
    wait_until(SOON, "the proxy to know", || {
        proxy.servers().iter().any(|server| server.address == address && server.role == "master")
    });
    wait_until(SOON, "a write", || client.line("SET k 2") == ok());
    assert_eq!(watched.groups[0].servers[master].client().line("GET k"), bulk("2"));
}

#[test]
fn d22_the_subscription_moves_to_another_sentinel() {
    if original_differs("D-22: no subscription") {
        return;
    }
    let mut watched = Watched::start(3, 1, 2);
    let proxy = proxy_for(&watched, "    ConnectTimeout 300ms");
    let listened = |watched: &Watched, except: usize| {
        let mut others = (0..3).filter(|index| *index != except);
        others.find(|index| watched.sentinels[*index].listeners() > 0)
    };
    let mut first = 0;
    wait_until(SOON, "one to be listened to", || {
        listened(&watched, usize::MAX).is_some_and(|index| {
            first = index;
            true
        })
    });
    watched.sentinels[first].pause();
    let mut second = 0;
    wait_until(SOON, "another to be listened to", || {
        listened(&watched, first).is_some_and(|index| {
            second = index;
            true
        })
    });
    watched.sentinels[first].resume();
    watched.sentinels[second].kill();
    wait_until(SOON, "a third to be listened to", || listened(&watched, second).is_some());
    watched.sentinels[second].restart();
    assert_eq!(proxy.client().line("SET k 1"), ok());
}

#[test]
fn sentinels_are_found_through_each_other() {
    if original_differs("D-22: they get the password of the servers") {
        return;
    }
    let secrets = Secrets { server: Some("data"), sentinel: Some("guard") };
    let mut watched = Watched::with(3, 1, 2, secrets);
    let lines = format!(
        "{BRISK}\n    Password data\n    ConnectTimeout 300ms\n    MasterReadPriority 0\n    DynamicSlaveReadPriority 50"
    );
    let seed = format!("        + {}\n", watched.sentinels[0].address());
    let proxy = Proxy::start(&watched.conf_of("Sentinels guard", &seed, &lines));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.line("SET k 1"), ok());
    wait_until(SOON, "the replica to have it", || client.line("GET k") == bulk("1"));
    // Those that were found are asked, with the right password.
    wait_until(SOON, "the others to be asked", || {
        watched.sentinels[1..].iter().all(RedisSentinel::is_asked)
    });
    watched.sentinels[0].kill();
    wait_until(SOON, "the sentinel to agree", || {
        watched.sentinels[1].client().line("SENTINEL FAILOVER g0") == ok()
    });
    wait_until(SOON, "the roles to be swapped", || {
        let servers = proxy.servers();
        let is = |index: usize, role: &str| {
            let address = watched.groups[0].servers[index].address();
            servers.iter().any(|server| server.address == address && server.role == role)
        };
        is(1, "master") && is(0, "slave")
    });
    wait_until(SOON, "a write", || client.line("SET k 2") == ok());
}

#[test]
fn d05_a_group_that_no_sentinel_knows_yet() {
    if original_differs("D-05: divides by zero") {
        return;
    }
    let groups: Vec<Group> = (0..2).map(|index| Group::start(index, 1, None)).collect();
    let sentinel = RedisSentinel::start(&monitor_lines(&groups[..1], 1, None), None);
    let watched = Watched { sentinels: vec![sentinel], groups };
    let proxy = Proxy::start(&watched.conf("    RefreshInterval 60"));
    let mut client = proxy.client();
    let (known, unknown) = (watched.key_on(0, "k"), watched.key_on(1, "k"));
    assert_eq!(client.cmd(&["SET", &known, "1"]), ok(), "the one does not wait for the other");
    for line in [["GET", &unknown], ["INCR", &unknown]] {
        assert_eq!(client.cmd(&line), error("ERR no server avaliable"));
    }
    assert_eq!(client.cmd(&["MGET", &known, &unknown]), error("ERR no server avaliable"));
    assert_eq!(client.cmd(&["GET", &known]), bulk("1"));
    wait_until(SOON, "the log to say why", || proxy.log().contains("does not know group g1"));
    let port = watched.groups[1].servers[0].port().to_string();
    let mut guard = watched.sentinels[0].client();
    wait_until(SOON, "it to be listened to", || watched.sentinels[0].listeners() == 1);
    assert_eq!(guard.line(&format!("SENTINEL MONITOR g1 127.0.0.1 {port} 1")), ok());
    wait_until(SOON, "it to be used", || client.cmd(&["SET", &unknown, "2"]) == ok());
}

#[test]
fn d05_a_pool_without_any_sentinel_that_answers() {
    if original_differs("D-05: divides by zero") {
        return;
    }
    let mut watched = Watched::start(1, 2, 1);
    watched.sentinels[0].kill();
    let proxy = Proxy::start(&watched.conf(BRISK));
    let mut client = proxy.client();
    for line in ["GET a", "SET a 1", "MGET a b c", "DEL a b c", "EVAL 1 0", "COMMAND COUNT"] {
        assert_eq!(client.line(line), error("ERR no server avaliable"), "{line}");
    }
    assert!(client.line("RANDOMKEY").error_text().is_some());
    watched.sentinels[0].restart();
    wait_until(SOON, "it to be found", || client.line("SET a 1") == ok());
}

#[test]
fn d22_reads_do_not_wait_for_a_replica_that_is_down() {
    if original_differs("D-22: they do, for ever") {
        return;
    }
    let watched = Watched::start(1, 1, 3);
    let lines = "    MasterReadPriority 0\n    DynamicSlaveReadPriority 50";
    let proxy = proxy_for(&watched, lines);
    let mut client = proxy.client();
    // A pipeline is shared by all who are well, and that one is not known to be down yet.
    assert_eq!(client.pipeline(&["GET k"; 20]), vec![Value::Nil; 20]);
    watched.groups[0].servers[1].pause();
    let replies = client.pipeline(&["GET k"; 20]);
    assert_eq!(replies, vec![Value::Nil; 20], "those that got no answer were sent elsewhere");
    for _ in 0..100 {
        assert_eq!(client.line("GET k"), Value::Nil);
    }
    watched.groups[0].servers[1].resume();
}

/// What a scripted Sentinel says of `g0`.
#[derive(Clone)]
struct Opinion {
    master: u16,
    epoch: u64,
    /// Whose replicas it lists; in the middle of a failover that is still the old master.
    of: u16,
    /// Whether it has asked that one who they are.
    has_looked: bool,
    /// Their ports and flags.
    replicas: Vec<(u16, &'static str)>,
}

type Says = Arc<Mutex<Opinion>>;

fn says(master: u16, epoch: u64) -> Says {
    let opinion = Opinion { master, epoch, of: master, has_looked: true, replicas: Vec::new() };
    Arc::new(Mutex::new(opinion))
}

fn fake_sentinel(says: &Says) -> FakeServer {
    let says = Arc::clone(says);
    FakeServer::start(move |heard| {
        let opinion = says.lock().unwrap().clone();
        let list = |words: &[String]| {
            let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
            format!("*{}\r\n{}", words.len(), words.collect::<String>())
        };
        let pairs = |pairs: &[(&str, String)]| {
            let words = pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
            list(&words.collect::<Vec<String>>())
        };
        let home = || "127.0.0.1".to_owned();
        match (heard.name().as_str(), heard.word(1).as_str()) {
            ("SENTINEL", "master") => Answer::text(pairs(&[
                ("name", "g0".to_owned()),
                ("ip", home()),
                ("port", opinion.of.to_string()),
                ("flags", "master".to_owned()),
                ("info-refresh", u32::from(opinion.has_looked).to_string()),
                ("config-epoch", opinion.epoch.to_string()),
            ])),
            ("SENTINEL", "get-master-addr-by-name") => {
                Answer::text(list(&[home(), opinion.master.to_string()]))
            }
            ("SENTINEL", "slaves") => {
                let entries = opinion.replicas.iter().map(|(port, flags)| {
                    pairs(&[
                        ("ip", home()),
                        ("port", port.to_string()),
                        ("flags", (*flags).to_owned()),
                        ("master-link-status", "ok".to_owned()),
                    ])
                });
                let count = entries.len();
                Answer::text(format!("*{count}\r\n{}", entries.collect::<String>()))
            }
            ("SENTINEL", _) => Answer::text("*0\r\n"),
            ("SUBSCRIBE", _) => Answer::text("*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"),
            _ => Answer::Usual,
        }
    })
}

/// A pool of the one group that these look after.
fn proxy_for_fakes(sentinels: &[FakeServer], lines: &str) -> Proxy {
    let list = sentinels.iter().map(|one| format!("        + {}\n", one.address()));
    let list: String = list.collect();
    Proxy::start(&format!(
        "SentinelServerPool {{\n    RefreshInterval 20ms\n{lines}\n    Sentinels {{\n{list}    }}\n    Group g0 {{\n    }}\n}}\n"
    ))
}

#[test]
fn d22_what_a_sentinel_says_of_replicas_counts_if_it_can_know() {
    if original_differs("D-22: flags are ignored, and nobody is ever dropped") {
        return;
    }
    let master = RedisServer::start();
    let replicas: Vec<FakeServer> = (0..2)
        .map(|index| {
            FakeServer::start(move |heard| match heard.name().as_str() {
                "GET" => Answer::bulk(index.to_string()),
                _ => Answer::Usual,
            })
        })
        .collect();
    let says = says(master.port(), 1);
    let both = |first, second| vec![(replicas[0].port(), first), (replicas[1].port(), second)];
    says.lock().unwrap().replicas = both("slave", "slave");
    let guard = [fake_sentinel(&says)];
    let lines = "    MasterReadPriority 10\n    DynamicSlaveReadPriority 50";
    let proxy = proxy_for_fakes(&guard, lines);
    proxy.wait_for_servers(3);
    let mut client = proxy.client();
    let mut answers = || {
        let all: BTreeSet<String> = (0..30)
            .map(|_| match client.line("GET k") {
                Value::Nil => "master".to_owned(),
                reply => reply.text(),
            })
            .collect();
        all.into_iter().collect::<Vec<String>>().join(" ")
    };
    assert_eq!(answers(), "0 1");
    for flags in ["s_down,slave", "slave,disconnected"] {
        says.lock().unwrap().replicas = both("slave", flags);
        wait_until(SOON, "the one that is down to get no reads", || answers() == "0");
        says.lock().unwrap().replicas = both("slave", "slave");
        wait_until(SOON, "it to be read from again", || answers() == "0 1");
    }
    let polls = || guard[0].heard_named("SENTINEL").len();
    let mut is_ignored = |change: &dyn Fn(&mut Opinion)| {
        change(&mut says.lock().unwrap());
        let before = polls();
        while polls() < before + 20 {
            assert_eq!(answers(), "0 1");
        }
        assert_eq!(proxy.servers().len(), 3);
    };
    is_ignored(&|opinion| {
        // It has just been started.
        opinion.has_looked = false;
        opinion.replicas.clear();
    });
    is_ignored(&|opinion| {
        // It has yet to see the failover to the master that it names.
        opinion.has_looked = true;
        opinion.of = 1;
    });
    says.lock().unwrap().of = master.port();
    wait_until(SOON, "them to be dropped", || proxy.servers().len() == 1);
    wait_until(SOON, "the master to be read from", || answers() == "master");
}

#[test]
fn d22_sentinels_that_disagree_do_not_make_it_swing() {
    if original_differs("D-22: the earlier one in a list wins") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let ports = [servers[0].port(), servers[1].port()];
    let opinions = [(0, 5), (0, 5), (1, 3)].map(|(index, epoch)| says(ports[index], epoch));
    let sentinels: Vec<FakeServer> = opinions.iter().map(fake_sentinel).collect();
    let change = |opinion: &Says, master: u16, epoch: u64| {
        let mut opinion = opinion.lock().unwrap();
        (opinion.master, opinion.of, opinion.epoch) = (master, master, epoch);
    };
    let proxy = proxy_for_fakes(&sentinels, "");
    let mut client = proxy.client();
    let asked = |index: usize| sentinels[index].heard_named("SENTINEL").len();
    let lands_on = |client: &mut Client, index: usize| {
        let number = format!("{:?}", Instant::now());
        client.cmd(&["SET", "k", &number]) == ok()
            && servers[index].client().line("GET k") == bulk(&number)
    };
    wait_until(SOON, "the higher epoch to be believed", || lands_on(&mut client, 0));
    let before = asked(2);
    while asked(2) < before + 40 {
        assert!(lands_on(&mut client, 0), "an old opinion changes nothing");
    }
    // A failover that only one has heard of so far is real.
    change(&opinions[1], ports[1], 6);
    wait_until(SOON, "the higher epoch to be believed", || lands_on(&mut client, 1));
    let before = asked(0);
    while asked(0) < before + 40 {
        assert!(lands_on(&mut client, 1), "it is not undone by who has not heard of it");
    }
    // Where all agree that it is otherwise, an epoch proves nothing: they were set up anew.
    for opinion in &opinions {
        change(opinion, ports[0], 0);
    }
    wait_until(SOON, "all of them to be believed", || lands_on(&mut client, 0));
}

#[test]
fn a_sentinel_that_is_started_anew_changes_nothing() {
    if original_differs("D-10: never asks it again") {
        return;
    }
    let mut watched = Watched::start(1, 1, 2);
    let proxy = proxy_for(&watched, "    MasterReadPriority 0\n    DynamicSlaveReadPriority 50");
    let mut client = proxy.client();
    assert_eq!(client.line("GET k"), Value::Nil);
    watched.sentinels[0].kill();
    for _ in 0..50 {
        assert_eq!(client.line("GET k"), Value::Nil, "nobody to ask is no reason to fail");
        assert_eq!(client.line("SET w 1"), ok());
    }
    watched.sentinels[0].restart();
    wait_until(SOON, "it to be asked again", || {
        assert_eq!(client.line("GET k"), Value::Nil);
        watched.sentinels[0].is_asked()
    });
    for _ in 0..50 {
        assert_eq!(client.line("GET k"), Value::Nil);
    }
}

#[test]
fn servers_may_be_announced_by_name() {
    let group = Group::start(0, 1, None);
    let port = group.servers[0].port();
    let lines = format!(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor g0 localhost {port} 1\n"
    );
    let sentinel = RedisSentinel::start(&lines, None);
    let watched = Watched { sentinels: vec![sentinel], groups: vec![group] };
    let proxy = proxy_for(&watched, "");
    let mut client = proxy.client();
    assert_eq!(client.line("SET k 1"), ok());
    assert_eq!(proxy.servers()[0].address, format!("localhost:{port}"));
}

#[test]
fn all_servers_may_be_down_and_come_back() {
    let mut watched = Watched::start(1, 2, 1);
    let proxy = proxy_for(&watched, "    ServerFailureLimit 2");
    let mut client = proxy.client();
    let keys = [watched.key_on(0, "k"), watched.key_on(1, "k")];
    for key in &keys {
        assert_eq!(client.cmd(&["SET", key, "1"]), ok());
    }
    for group in &mut watched.groups {
        group.servers[0].kill();
    }
    watched.sentinels[0].kill();
    for key in &keys {
        wait_until(SOON, "an error", || client.cmd(&["SET", key, "1"]).error_text().is_some());
    }
    for group in &mut watched.groups {
        group.servers[0].restart();
    }
    watched.sentinels[0].restart();
    for key in &keys {
        wait_until(SOON, "a write", || client.cmd(&["SET", key, "2"]) == ok());
    }
}

#[test]
fn a_sentinel_is_asked_nothing_but_what_it_is_for() {
    if original_differs("fails until the first answer has come") {
        return;
    }
    let group = Group::start(0, 1, None);
    let says = says(group.servers[0].port(), 1);
    let fake = fake_sentinel(&says);
    let conf = format!(
        "SentinelServerPool {{\n    Databases 4\n    RefreshInterval 50ms\n    Sentinels guard {{\n        + {}\n    }}\n    Group g0 {{\n    }}\n}}\n",
        fake.address()
    );
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    assert_eq!(client.pipeline(&["SELECT 3", "SET k 1"]), [ok(), ok()]);
    wait_until(SOON, "a few questions", || fake.heard_named("SENTINEL").len() > 20);
    for heard in fake.heard() {
        let name = heard.name();
        assert!(["AUTH", "PING", "SENTINEL", "SUBSCRIBE"].contains(&name.as_str()), "{name}");
        if name == "AUTH" {
            assert_eq!(heard.word(1), "guard");
        }
    }
}

#[test]
fn a_later_write_does_not_overtake_an_earlier_one_to_the_old_master() {
    if original_differs("no fences") {
        return;
    }
    /// How long the proxy waits for the old master, and what of it is safe to look at.
    const LOOK: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_millis(450);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let old = FakeServer::start(move |heard| match heard.name().as_str() {
        "SET" => {
            let _ = released.lock().unwrap().recv_timeout(SOON);
            Answer::text("+OK\r\n")
        }
        _ => Answer::Usual,
    });
    let new = FakeServer::start(|heard| match heard.name().as_str() {
        "SET" => Answer::text("+OK\r\n"),
        _ => Answer::Usual,
    });
    let says = says(old.port(), 1);
    let guard = [fake_sentinel(&says)];
    let proxy = proxy_for_fakes(&guard, "");
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(crate::support::wire(&["SET", "k", "1"]));
    wait_until(SOON, "the old master to have it", || !old.heard_named("SET").is_empty());
    let switched = Instant::now();
    {
        let mut opinion = says.lock().unwrap();
        (opinion.master, opinion.of, opinion.epoch) = (new.port(), new.port(), 2);
    }
    wait_until(SOON, "the new master to be known", || {
        proxy.servers().iter().any(|server| server.address == new.address())
    });
    second.send(crate::support::wire(&["SET", "k", "2"]));
    while switched.elapsed() < LOOK {
        let heard = new.heard_named("SET");
        assert!(heard.is_empty() || switched.elapsed() > PATIENCE, "it has overtaken");
    }
    release.send(()).unwrap();
    assert_eq!((first.reply(), second.reply()), (ok(), ok()));
    assert_eq!(new.heard_named("SET").len(), 1);
}

#[test]
fn what_is_watched_at_a_master_that_was_replaced_has_changed() {
    if original_differs("EXEC goes to the old master, and says what it thinks") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    for (server, value) in servers.iter().zip(["old", "new"]) {
        assert_eq!(server.client().cmd(&["SET", "k", value]), ok());
    }
    let says = says(servers[0].port(), 1);
    let guard = [fake_sentinel(&says)];
    let proxy = proxy_for_fakes(&guard, "");
    proxy.wait_for_servers(1);
    let (mut early, mut late, mut other) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(early.line("WATCH k"), ok());
    assert_eq!(late.line("WATCH k"), ok());
    // One has queued something already when the old master, which knows of nothing, is replaced.
    assert_eq!((early.line("MULTI"), early.line("SET k mine").text()), (ok(), "QUEUED".to_owned()));
    {
        let mut opinion = says.lock().unwrap();
        (opinion.master, opinion.of, opinion.epoch) = (servers[1].port(), servers[1].port(), 2);
        opinion.replicas = vec![(servers[0].port(), "slave")];
    }
    wait_until(SOON, "the new master to be read from", || other.line("GET k") == bulk("new"));
    assert_eq!(early.line("EXEC"), Value::NilArray);
    assert_eq!(late.line("GET k"), bulk("new"));
    assert_eq!((late.line("MULTI"), late.line("SET k mine").text()), (ok(), "QUEUED".to_owned()));
    assert_eq!(late.line("EXEC"), Value::NilArray);
    let values = servers.each_ref().map(|server| server.client().line("GET k"));
    assert_eq!(values, [bulk("old"), bulk("new")]);
    // Afterwards everything is as ever.
    assert_eq!((late.line("WATCH k"), late.line("MULTI")), (ok(), ok()));
    assert_eq!(late.line("SET k mine").text(), "QUEUED");
    assert_eq!(late.line("EXEC"), Value::Array(vec![ok()]));
}
