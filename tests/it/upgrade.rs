//! A new binary takes the place of the old one, and no connection is lost.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use crate::support::{
    AnyPool, Client, Load, Proxy, RedisServer, SOON, Scratch, Value, array, binary, bulk, error,
    free_port, groups_conf, int, ok, original_differs, shared_cluster, simple, wait_until, wire,
};

const LACKS: &str = "SIGUSR2 kills it";

#[test]
fn three_upgrades_in_a_row_under_load_cost_nobody_an_error() {
    if original_differs(LACKS) {
        return;
    }
    let mut proxy = Proxy::for_cluster(shared_cluster());
    let load = Load::start(&proxy, 4);
    let stop = Arc::new(AtomicBool::new(false));
    let comers = (0..2).map(|number| {
        let (address, stop) = (proxy.address().clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut count = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut client = Client::connect(&address);
                let key = format!("upgrade:{number}:{count}");
                assert_eq!(client.cmd(&["SET", &key, &key]), ok());
                assert_eq!(client.cmd(&["GET", &key]), bulk(key));
                count += 1;
            }
            count
        })
    });
    let comers: Vec<_> = comers.collect();
    for _ in 0..3 {
        let before = load.done();
        wait_until(SOON, "the load to go on", || load.done() > before + 300);
        proxy.upgrade();
    }
    let before = load.done();
    wait_until(SOON, "the load to go on", || load.done() > before + 300);
    load.end();
    stop.store(true, Ordering::SeqCst);
    assert!(comers.into_iter().all(|comer| comer.join().expect("nobody was refused") > 0));
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
}

#[test]
fn clients_go_on_as_who_and_what_they_were() {
    if original_differs(LACKS) {
        return;
    }
    let authority = "Authority {\nAuth w {\nMode write\n}\nAuth pass {\nUser bob\nMode admin\n}\n\
                     Auth {\nMode read\n}\n}\n";
    let mut pool = AnyPool::groups(1, authority);
    let mut clients: Vec<Client> = (0..4).map(|_| pool.proxy.client()).collect();
    assert_eq!(clients[0].line("AUTH w"), ok());
    assert_eq!(clients[0].line("SELECT 3"), ok());
    assert_eq!(clients[0].line("CLIENT SETNAME worker"), ok());
    assert_eq!(clients[0].line("SET upgrade:who 3"), ok());
    assert_eq!(clients[1].line("AUTH bob pass"), ok());
    let ids: Vec<Value> = clients.iter_mut().map(|client| client.line("CLIENT ID")).collect();
    // Half of a request is with the old process.
    let request = wire(&["GET", "upgrade:who"]);
    clients[3].send(&request[..17]);
    let settled = pool.proxy.figure("TotalRecvClientBytes");
    wait_until(SOON, "half of the request to arrive", || {
        pool.proxy.figure("TotalRecvClientBytes") > settled
    });
    pool.proxy.upgrade();
    clients[3].send(&request[17..]);
    assert_eq!(clients[3].reply(), Value::Nil, "it is in database 0");
    assert_eq!(clients[0].line("GET upgrade:who"), bulk("3"));
    assert_eq!(clients[0].line("CLIENT GETNAME"), bulk("worker"));
    assert_eq!(clients[0].line("CONFIG GET Name"), error("ERR auth permission deny"));
    assert_eq!(clients[1].line("CONFIG GET Name").elements().len(), 2);
    assert_eq!(clients[2].line("SET upgrade:who 4"), error("ERR auth permission deny"));
    let after: Vec<Value> = clients.iter_mut().map(|client| client.line("CLIENT ID")).collect();
    assert_eq!(ids, after);
    let newest = pool.proxy.client().line("CLIENT ID").number();
    assert!(ids.iter().all(|id| id.number() < newest), "{ids:?} {newest}");
    assert_eq!(pool.proxy.figure("ClientConnections"), 5);
}

#[test]
fn who_is_in_the_middle_of_something_finishes_it() {
    if original_differs(LACKS) {
        return;
    }
    let mut pool = AnyPool::groups(1, "");
    let mut waiting = pool.proxy.client();
    waiting.send(wire(&["BLPOP", "upgrade:list", "0"]));
    waiting.send(wire(&["ECHO", "behind"]));
    let mut reading = pool.proxy.client();
    reading.send(wire(&["XREAD", "BLOCK", "0", "STREAMS", "upgrade:stream", "$"]));
    let mut masters = pool.masters();
    wait_until(SOON, "both to wait", || {
        masters[0].line("INFO clients").text().contains("blocked_clients:2")
    });
    let mut busy = pool.proxy.client();
    assert_eq!(busy.line("WATCH upgrade:sum"), ok());
    assert_eq!(busy.line("MULTI"), ok());
    assert_eq!(busy.line("INCR upgrade:sum"), simple("QUEUED"));
    let id = pool.proxy.process().id();
    pool.proxy.process().signal("USR2");
    wait_until(SOON, "another process to take over", || pool.proxy.log().contains("takes over"));
    // Said again later it would have missed what came in between; it is told.
    assert_eq!(reading.reply(), error("UNBLOCKED the proxy is shutting down"));
    assert_eq!(busy.line("INCR upgrade:sum"), simple("QUEUED"));
    assert_eq!(busy.line("EXEC"), array([int(1), int(2)]));
    pool.proxy.follow_upgrade();
    assert_ne!(pool.proxy.process().id(), id);
    assert_eq!(busy.line("GET upgrade:sum"), bulk("2"));
    // Who waits for something waits on, in the new process.
    wait_until(SOON, "one to wait", || {
        masters[0].line("INFO clients").text().contains("blocked_clients:1")
    });
    assert_eq!(busy.line("RPUSH upgrade:list element"), int(1));
    assert_eq!(waiting.reply(), array([bulk("upgrade:list"), bulk("element")]));
    assert_eq!(waiting.reply(), bulk("behind"));
    assert_eq!(reading.line("PING"), simple("PONG"));
}

#[test]
fn a_binary_that_does_not_start_leaves_the_old_one_serving() {
    if original_differs(LACKS) {
        return;
    }
    let scratch = Scratch::new("upgrade");
    let path = scratch.path().join("program");
    symlink(binary(), &path).expect("a link");
    let pool = shared_cluster().conf();
    let conf = format!("Name one\n{pool}");
    let mut proxy = Proxy::with(&conf).program(path.clone()).start();
    let mut client = proxy.client();
    let attempt = |proxy: &mut Proxy, want: &str| {
        let before = proxy.log().matches("nothing has changed").count();
        proxy.process().signal("USR2");
        wait_until(SOON, want, || {
            let log = proxy.log();
            log.contains(want) && log.matches("nothing has changed").count() > before
        });
    };
    assert_eq!(client.line("PING"), simple("PONG"));
    // A configuration with a mistake.
    proxy.write_conf(&format!("Name two\nClientTimeout soon\n{pool}"));
    attempt(&mut proxy, "predixy.conf:3 ClientTimeout soon is not an");
    // An address that is not ours.
    proxy.write_conf(&format!("Bind 192.0.2.1:7617\n{pool}"));
    attempt(&mut proxy, "socket bind to 192.0.2.1:7617 fail");
    // Something else instead of the program.
    std::fs::remove_file(&path).expect("a link");
    proxy.process().signal("USR2");
    wait_until(SOON, "that there is nothing", || proxy.log().contains("upgrade fail start"));
    symlink("/bin/false", &path).expect("a link");
    attempt(&mut proxy, "exit status: 1");
    assert_eq!(client.line("PING"), simple("PONG"));
    assert_eq!(proxy.client().line("CONFIG GET Name"), array([bulk("Name"), bulk("one")]));
    // And then the right one.
    std::fs::remove_file(&path).expect("a link");
    symlink(binary(), &path).expect("a link");
    proxy.write_conf(&format!("Name three\n{pool}"));
    proxy.upgrade();
    assert_eq!(client.line("CONFIG GET Name"), array([bulk("Name"), bulk("three")]));
}

#[test]
fn what_takes_a_restart_takes_an_upgrade_as_well() {
    if original_differs(LACKS) {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let scratch = Scratch::new("binds");
    let paths = ["one", "two"].map(|name| scratch.path().join(name));
    let conf =
        |path: usize, port: u16| format!("Bind 127.0.0.1:{port}\nBind {}\n", paths[path].display());
    let (port, more) = (free_port(), free_port());
    let mut proxy = Proxy::start(&format!("{}{pool}", conf(0, port)));
    let mut client = proxy.client();
    assert_eq!(client.line("CONFIG GET WorkerThreads").elements()[1], bulk("1"));
    let text = format!("{}Bind 127.0.0.1:{more}\nWorkerThreads 3\n{pool}", conf(1, port));
    proxy.write_conf(&text);
    proxy.upgrade();
    // By the socket in the file system, which is another one now.
    assert_eq!(client.line("CONFIG GET WorkerThreads").elements()[1], bulk("3"));
    assert_eq!(Client::to_port(port).line("PING"), simple("PONG"));
    assert_eq!(Client::to_port(more).line("PING"), simple("PONG"));
    assert!(!paths[0].exists(), "nobody listens there any more");
    assert!(paths[1].exists());
    proxy.move_to(crate::support::Address::Unix(paths[1].clone()));
    proxy.upgrade();
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert!(paths[1].exists(), "its file has stayed");
    assert!(proxy.terminate().success());
    assert!(!paths[1].exists());
}

#[test]
fn the_service_manager_is_told_what_happens() {
    if original_differs("does not know systemd") {
        return;
    }
    let scratch = Scratch::new("notify");
    let path = scratch.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(SOON)).expect("a time-out");
    let heard = || {
        let mut room = [0; 200];
        let size = manager.recv(&mut room).expect("a message in time");
        String::from_utf8_lossy(&room[..size]).into_owned()
    };
    let conf = shared_cluster().conf();
    let mut proxy = Proxy::with(&conf).variable("NOTIFY_SOCKET", path.to_string_lossy()).start();
    assert_eq!(heard(), "READY=1");
    assert_eq!(proxy.client().line("CONFIG RELOAD"), ok());
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    proxy.upgrade();
    let words = [heard(), heard()];
    assert!(words.contains(&format!("MAINPID={}", proxy.process().id())), "{words:?}");
    assert!(words.contains(&"READY=1".to_owned()), "{words:?}");
    assert!(proxy.terminate().success());
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn the_service_manager_hears_that_all_is_well() {
    if original_differs("does not know systemd") {
        return;
    }
    let scratch = Scratch::new("watchdog");
    let path = scratch.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(SOON)).expect("a time-out");
    // A manager reads all the time, as only few messages fit between it and us.
    let (say, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut room = [0; 200];
        while let Ok(size) = manager.recv(&mut room) {
            let _ = say.send(String::from_utf8_lossy(&room[..size]).into_owned());
        }
    });
    let until = |word: &str| {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = heard.recv_timeout(left).unwrap_or_else(|_| panic!("no {word} in time"));
            if message.starts_with(word) {
                return;
            }
        }
    };
    let conf = format!("WorkerThreads 2\n{}", shared_cluster().conf());
    let start = Proxy::with(&conf).variable("NOTIFY_SOCKET", path.to_string_lossy());
    let mut proxy = start.variable("WATCHDOG_USEC", "100000").start();
    (0..3).for_each(|_| until("WATCHDOG=1"));
    proxy.upgrade();
    until("MAINPID=");
    // The old process has ended: what comes now is the new one's.
    (0..3).for_each(|_| until("WATCHDOG=1"));
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
}

#[test]
fn a_stop_ends_commands_that_wait_and_loses_nothing() {
    if original_differs("D-50: closes the connection") {
        return;
    }
    let mut pool = AnyPool::groups(1, "ShutdownTimeout 600s");
    let mut waiting: Vec<Client> = (0..20).map(|_| pool.proxy.client()).collect();
    for client in &mut waiting {
        client.send(wire(&["BLPOP", "upgrade:stop", "0"]));
    }
    let mut master = pool.masters().remove(0);
    wait_until(SOON, "all to wait", || {
        master.line("INFO clients").text().contains("blocked_clients:20")
    });
    // Some get an element at the very moment of the stop.
    let mut elements: Vec<&str> = vec!["RPUSH", "upgrade:stop"];
    elements.extend(["e"; 10]);
    master.send(wire(&elements));
    assert!(pool.proxy.terminate().success());
    assert_eq!(master.reply(), int(10));
    let mut taken = 0;
    for client in &mut waiting {
        match client.reply() {
            Value::Array(_) => taken += 1,
            reply => assert_eq!(reply, error("UNBLOCKED the proxy is shutting down")),
        }
        client.expect_closed();
    }
    assert_eq!(taken + master.line("LLEN upgrade:stop").number(), 10);
}
