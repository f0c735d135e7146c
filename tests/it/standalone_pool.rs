//! Groups that the file lists: where keys go, databases, passwords, several keys at once.

use crate::support::{
    Client, Proxy, RedisServer, SOON, Value, array, bulk, error, int, key_in_group, ok,
    original_differs, wait_until,
};

/// One server for each group, and a pool of them with more lines inside.
struct Pool {
    servers: Vec<RedisServer>,
    proxy: Proxy,
}

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

impl Pool {
    fn start(groups: usize, lines: &str) -> Pool {
        let servers: Vec<RedisServer> = (0..groups).map(|_| RedisServer::start()).collect();
        let blocks: Vec<Vec<String>> =
            servers.iter().map(|server| vec![server.address()]).collect();
        let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", conf(&blocks, lines)));
        Pool { servers, proxy }
    }

    fn at(&self, group: usize) -> Client {
        self.servers[group].client()
    }

    /// The groups that hold this key.
    fn places(&self, key: &str) -> Vec<usize> {
        let holds = |group: &usize| self.at(*group).cmd(&["EXISTS", key]) == int(1);
        (0..self.servers.len()).filter(holds).collect()
    }
}

/// A pool with these servers in its groups.
fn conf(groups: &[Vec<String>], lines: &str) -> String {
    let blocks = groups.iter().enumerate().map(|(index, servers)| {
        let servers: String = servers.iter().map(|one| format!("        + {one}\n")).collect();
        format!("    Group g{index} {{\n{servers}    }}\n")
    });
    let blocks: String = blocks.collect();
    format!(
        "StandaloneServerPool {{\n    RefreshMethod fixed\n    ServerRetryTimeout 50ms\n{lines}\n{blocks}}}\n"
    )
}

const MODULA: &str = "    Hash crc16\n    Distribution modula";

#[test]
fn keys_go_to_the_group_of_their_hash() {
    let pool = Pool::start(3, &format!("{MODULA}\n    HashTag \"{{}}\""));
    let mut client = pool.proxy.client();
    for group in 0..3 {
        let key = key_in_group(group, 3, "k");
        let tagged = format!("x{{{key}}}y");
        assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
        assert_eq!(client.cmd(&["SET", &tagged, "1"]), ok());
        assert_eq!((pool.places(&key), pool.places(&tagged)), (vec![group], vec![group]));
        assert_eq!(client.cmd(&["GET", &key]), bulk("1"));
    }
}

#[test]
fn d02_numbers_choose_the_group_with_atol_whatever_the_key_is() {
    let pool = Pool::start(3, "    Hash atol\n    Distribution modula");
    let mut client = pool.proxy.client();
    // 2^64 is 1 modulo 3.
    for (key, group) in [("7", 1), ("-2", 2), ("-1", 0), ("5x", 2), ("x5", 0), ("+4", 1), ("", 0)] {
        assert_eq!(client.cmd(&["SET", key, "1"]), ok());
        assert_eq!(pool.places(key), [group], "{key:?}");
    }
    if !original_differs("D-02: commands without a key end the process") {
        for line in ["EVAL return{1} 0", "COMMAND COUNT"] {
            assert_eq!(client.line(line).error_text(), None, "{line}");
        }
        assert_eq!(client.line("PING"), Value::Simple("PONG".into()));
    }
}

#[test]
fn any_group_gets_a_key_at_random() {
    let pool = Pool::start(3, "    Hash crc16\n    Distribution random");
    let mut client = pool.proxy.client();
    for _ in 0..300 {
        assert_eq!(client.line("INCR k").error_text(), None);
    }
    let counts: Vec<i64> = (0..3).map(|group| number(&pool.at(group).line("GET k"))).collect();
    assert_eq!(counts.iter().sum::<i64>(), 300);
    // By chance a group gets fewer than 50 of 300 less than once in a thousand million times.
    assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
}

fn number(value: &Value) -> i64 {
    value.text().parse().unwrap()
}

#[test]
fn many_keys_are_divided_by_group() {
    let pool = Pool::start(2, MODULA);
    let mut client = pool.proxy.client();
    let keys: Vec<String> =
        (0..6).map(|index| key_in_group(index % 2, 2, &format!("m{index}:"))).collect();
    let mut set = vec!["MSET"];
    for (key, value) in keys.iter().zip(["a", "b", "c", "d", "e", "f"]) {
        set.extend([key.as_str(), value]);
    }
    assert_eq!(client.cmd(&set), ok());
    let with = |name: &'static str, keys: &[String]| {
        let mut words = vec![name.to_owned()];
        words.extend(keys.iter().cloned());
        words
    };
    let mut all = with("MGET", &keys);
    all.insert(3, "none".to_owned());
    all.push(keys[0].clone());
    let want = ["a", "b"].map(bulk).into_iter().chain([Value::Nil]);
    let want = want.chain(["c", "d", "e", "f", "a"].map(bulk));
    assert_eq!(client.cmd(&all), array(want));
    if !original_differs("one request for each key") {
        // One request for each group, however many keys it has.
        for group in 0..2 {
            let stats = pool.at(group).line("INFO commandstats").text();
            assert!(stats.contains("cmdstat_mset:calls=1,"), "{stats}");
            assert!(stats.contains("cmdstat_mget:calls=1,"), "{stats}");
        }
    }
    assert_eq!(client.cmd(&with("EXISTS", &keys)), int(6));
    assert_eq!(client.cmd(&with("TOUCH", &keys)), int(6));
    assert_eq!(client.cmd(&with("UNLINK", &keys[..2])), int(2));
    assert_eq!(client.cmd(&with("DEL", &keys)), int(4));
}

#[test]
fn d14_what_cannot_be_divided_is_refused_across_groups() {
    if original_differs("D-14: gives wrong answers") {
        return;
    }
    let pool = Pool::start(2, MODULA);
    let mut client = pool.proxy.client();
    let (a, b) = (key_in_group(0, 2, "x"), key_in_group(1, 2, "x"));
    let (a, b) = (a.as_str(), b.as_str());
    assert_eq!(client.cmd(&["SET", a, "1"]), ok());
    for words in [
        vec!["MSETNX", a, "9", b, "9"],
        vec!["RENAME", a, b],
        vec!["SUNION", a, b],
        vec!["SMOVE", a, b, "m"],
        vec!["ZUNIONSTORE", a, "1", b],
        vec!["EVAL", "return 1", "2", a, b],
        vec!["BITOP", "AND", a, b, a],
        vec!["COPY", a, b],
    ] {
        assert_eq!(client.cmd(&words), error(CROSS_SLOT), "{words:?}");
    }
    assert_eq!(client.cmd(&["GET", a]), bulk("1"));
    assert_eq!(client.cmd(&["EXISTS", b]), int(0), "nothing was sent");
    // In one group they are atomic, and passed whole.
    let other = key_in_group(0, 2, "y");
    assert_eq!(client.cmd(&["MSETNX", a, "9", &other, "9"]), int(0));
    assert_eq!(client.cmd(&["EXISTS", &other]), int(0));
    assert_eq!(client.cmd(&["RENAME", a, &other]), ok());
}

#[test]
fn one_group_takes_everything_whole() {
    let pool = Pool::start(1, "");
    let mut client = pool.proxy.client();
    assert_eq!(client.line("MSETNX a 1 b 2 c 3"), int(1));
    assert_eq!(client.line("MSETNX c 1 d 2"), int(0));
    assert_eq!(client.line("MGET a b c d"), array([bulk("1"), bulk("2"), bulk("3"), Value::Nil]));
    assert_eq!(client.line("RENAME a z"), ok());
    assert_eq!(client.line("DEL z b c"), int(3));
    assert!(pool.at(0).line("INFO commandstats").text().contains("cmdstat_del:calls=1,"));
}

#[test]
fn commands_without_a_key_run_in_some_group() {
    let pool = Pool::start(3, MODULA);
    let mut client = pool.proxy.client();
    for _ in 0..20 {
        let words = ["EVAL", "redis.call('incr', 'here') return 7", "0"];
        assert_eq!(client.cmd(&words), int(7));
    }
    let runs = (0..3).map(|group| match pool.at(group).line("GET here") {
        Value::Nil => 0,
        count => number(&count),
    });
    assert_eq!(runs.sum::<i64>(), 20);
}

#[test]
fn every_database_has_a_link_of_its_own() {
    let pool = Pool::start(2, &format!("{MODULA}\n    Databases 4"));
    let (key, other) = (key_in_group(0, 2, "d"), key_in_group(1, 2, "d"));
    let mut clients: Vec<Client> = (0..4).map(|_| pool.proxy.client()).collect();
    for (database, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(&format!("SELECT {database}")), ok());
        let value = database.to_string();
        assert_eq!(client.cmd(&["MSET", &key, &value, &other, &value]), ok());
    }
    for (database, client) in clients.iter_mut().enumerate() {
        let value = bulk(database.to_string());
        assert_eq!(client.cmd(&["MGET", &key, &other]), array([value.clone(), value.clone()]));
        let mut direct = pool.at(0);
        assert_eq!(direct.line(&format!("SELECT {database}")), ok());
        assert_eq!(direct.cmd(&["GET", &key]), value);
        // Whoever changes the database takes what is in line along.
        let next = (database + 1) % 4;
        let select = format!("SELECT {next}");
        let get = format!("GET {key}");
        assert_eq!(client.pipeline(&[&get, &select, &get]), [value, ok(), bulk(next.to_string())]);
    }
    for wrong in ["4", "-1", "x", "99999999999999999999"] {
        assert!(clients[0].line(&format!("SELECT {wrong}")).error_text().is_some(), "{wrong}");
    }
}

#[test]
fn d10_a_pool_of_which_only_database_3_is_used_recovers() {
    if original_differs("D-10: the mark never clears without a link for database 0") {
        return;
    }
    let mut pool = Pool::start(1, "    Databases 4\n    ServerFailureLimit 1");
    let mut client = pool.proxy.client();
    assert_eq!(client.pipeline(&["SELECT 3", "SET k 1"]), [ok(), ok()]);
    pool.servers[0].kill();
    wait_until(SOON, "the server to be marked", || {
        assert!(client.line("SET k 2").error_text().is_some());
        pool.proxy.servers()[0].is_failed
    });
    pool.servers[0].restart();
    wait_until(SOON, "it to be used again", || client.line("SET k 3") == ok());
    let mut direct = pool.at(0);
    assert_eq!(direct.pipeline(&["SELECT 3", "GET k"]), [ok(), bulk("3")]);
    // A connection that is cut now and then is nothing to notice. What is in flight is lost; what
    // comes next is not.
    for _ in 0..5 {
        pool.servers[0].kill_client_connections();
        wait_until(SOON, "the next write", || client.line("SET k 4") == ok());
    }
}

#[test]
fn all_groups_may_be_down_and_come_back() {
    let mut pool = Pool::start(2, &format!("{MODULA}\n    ServerFailureLimit 2"));
    let mut client = pool.proxy.client();
    let keys = [key_in_group(0, 2, "k"), key_in_group(1, 2, "k")];
    for key in &keys {
        assert_eq!(client.cmd(&["SET", key, "1"]), ok());
    }
    pool.servers.iter_mut().for_each(RedisServer::kill);
    for key in &keys {
        wait_until(SOON, "an error", || client.cmd(&["GET", key]).error_text().is_some());
    }
    assert_eq!(client.line("PING"), Value::Simple("PONG".into()));
    pool.servers.iter_mut().for_each(RedisServer::restart);
    for key in &keys {
        wait_until(SOON, "a write", || client.cmd(&["SET", key, "2"]) == ok());
    }
}

#[test]
fn one_group_that_is_down_harms_no_other() {
    let mut pool = Pool::start(2, &format!("{MODULA}\n    ServerFailureLimit 2"));
    let mut client = pool.proxy.client();
    let (there, gone) = (key_in_group(0, 2, "k"), key_in_group(1, 2, "k"));
    assert_eq!(client.cmd(&["MSET", &there, "1", &gone, "1"]), ok());
    pool.servers[1].kill();
    wait_until(SOON, "an error", || client.cmd(&["GET", &gone]).error_text().is_some());
    for _ in 0..50 {
        assert_eq!(client.cmd(&["GET", &there]), bulk("1"));
    }
    if !original_differs("D-13: takes it for a missing key") {
        assert!(client.cmd(&["MGET", &there, &gone]).error_text().is_some());
        assert!(client.cmd(&["DEL", &gone, "none"]).error_text().is_some());
    }
}

#[test]
fn servers_have_passwords_of_their_own_or_that_of_the_pool() {
    let own = RedisServer::start_with(&["--requirepass", "own"]);
    let pool = RedisServer::start_with(&["--requirepass", "pool"]);
    let groups = [vec![format!("own@{}", own.address())], vec![pool.address()]];
    let lines = format!("{MODULA}\n    Databases 2\n    Password pool");
    let proxy = Proxy::start(&conf(&groups, &lines));
    let mut client = proxy.client();
    for group in 0..2 {
        let key = key_in_group(group, 2, "p");
        assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
    }
    assert_eq!(client.line("SELECT 1"), ok());
    assert_eq!(client.cmd(&["GET", &key_in_group(0, 2, "p")]), Value::Nil);
}

#[test]
fn a_user_name_goes_with_the_password() {
    if original_differs("D-67: no user names") {
        return;
    }
    let scratch = crate::support::Scratch::new("acl");
    let file = scratch.write(
        "users.acl",
        "user proxy on >secret ~* &* +@all\nuser default on nopass +info +ping\n",
    );
    let server = RedisServer::start_with(&["--aclfile", &file.to_string_lossy()]);
    let lines = "    Password secret\n    Username proxy";
    let proxy = Proxy::start(&conf(&[vec![server.address()]], lines));
    assert_eq!(proxy.client().line("SET k 1"), ok());
    let wrong =
        Proxy::start(&conf(&[vec![server.address()]], "    Password wrong\n    Username proxy"));
    assert!(wrong.client().line("SET k 1").error_text().is_some());
    wait_until(SOON, "the log to say why", || wrong.log().contains("WRONGPASS"));
}
