//! redis-rs against the proxy.

use std::collections::{BTreeSet, HashMap};
use std::{env, thread};

use redis::cluster::ClusterClient;
use redis::cluster_read_routing::RandomReplicaStrategy;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, RedisResult};

fn port(name: &str) -> u16 {
    env::var(name).expect(name).parse().expect("a port")
}

fn client(port: u16, protocol: u8) -> Client {
    let options = if protocol == 3 { "?protocol=resp3" } else { "" };
    Client::open(format!("redis://127.0.0.1:{port}/{options}")).expect("an address")
}

fn values(connection: &mut Connection, tag: &str) -> RedisResult<()> {
    let key = |name: &str| format!("{tag}:{name}");
    let pong: String = redis::cmd("PING").query(connection)?;
    assert_eq!(pong, "PONG");
    let _: () = connection.set_ex(key("s"), 1, 100)?;
    assert_eq!(connection.incr::<_, _, i64>(key("s"), 41)?, 42);
    assert_eq!(connection.get::<_, Option<String>>(key("none"))?, None);
    let pairs: Vec<_> = (0..50).map(|i| (key(&i.to_string()), i)).collect();
    let _: () = connection.mset(&pairs)?;
    let keys: Vec<_> = pairs.iter().map(|(key, _)| key).collect();
    assert_eq!(connection.mget::<_, Vec<i32>>(keys)?, (0..50).collect::<Vec<_>>());
    let _: () = connection.hset_multiple(key("h"), &[("a", 1), ("b", 2)])?;
    let hash: HashMap<String, i32> = connection.hgetall(key("h"))?;
    assert_eq!(hash, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
    let _: () = connection.zadd(key("z"), "a", 1.5)?;
    assert_eq!(connection.zscore::<_, _, f64>(key("z"), "a")?, 1.5);
    assert_eq!(connection.del::<_, i32>(&[key("s"), key("1"), key("none")])?, 2);
    let error = connection.lpush::<_, _, i32>(key("h"), "x").expect_err("a hash is no list");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    Ok(())
}

fn pipelines(connection: &mut Connection, tag: &str) -> RedisResult<()> {
    let mut pipeline = redis::pipe();
    for i in 0..1000 {
        pipeline.set(format!("{tag}:p{i}"), i).ignore().get(format!("{tag}:p{i}"));
    }
    let got: Vec<i32> = pipeline.query(connection)?;
    assert_eq!(got, (0..1000).collect::<Vec<_>>());
    Ok(())
}

fn transactions(connection: &mut Connection, port: u16, tag: &str) -> RedisResult<()> {
    let key = format!("{{{tag}}}:n");
    let _: () = connection.set(&key, 0)?;
    let work = |key: String| {
        let mut own = client(port, 2).get_connection().expect("a connection");
        for _ in 0..20 {
            let _: (i32,) = redis::transaction(&mut own, &[&key], |own, pipeline| {
                let value: i32 = own.get(&key)?;
                pipeline.set(&key, value + 1).ignore().get(&key).query(own)
            })
            .expect("a transaction");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| work(key.clone()));
        }
    });
    assert_eq!(connection.get::<_, i32>(&key)?, 80);
    Ok(())
}

fn scripts(connection: &mut Connection, tag: &str) -> RedisResult<()> {
    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for i in 0..10 {
        let key = format!("{tag}:script{i}");
        let _: () = connection.del(&key)?;
        assert_eq!(script.key(&key).arg(i).invoke::<i32>(connection)?, i);
    }
    Ok(())
}

fn blocking(connection: &mut Connection, port: u16, tag: &str) -> RedisResult<()> {
    let key = format!("{{{tag}}}:queue");
    let _: () = connection.del(&key)?;
    assert_eq!(connection.blpop::<_, Option<(String, String)>>(&key, 0.1)?, None);
    let waiting = thread::spawn({
        let key = key.clone();
        move || client(port, 2).get_connection()?.blpop::<_, (String, String)>(&key, 20.0)
    });
    let _: () = connection.rpush(&key, "x")?;
    assert_eq!(waiting.join().expect("no panic")?, (key, "x".to_owned()));
    Ok(())
}

fn scans(connection: &mut Connection, tag: &str) -> RedisResult<()> {
    let want: BTreeSet<String> = (0..300).map(|i| format!("{tag}:scan:{i}")).collect();
    let _: () = connection.mset(&want.iter().map(|key| (key, 1)).collect::<Vec<_>>())?;
    let found = connection.scan_match::<_, String>(format!("{tag}:scan:*"))?;
    assert_eq!(found.collect::<RedisResult<BTreeSet<_>>>()?, want);
    Ok(())
}

fn streams(connection: &mut Connection, tag: &str) -> RedisResult<()> {
    let key = format!("{tag}:stream");
    let _: () = connection.del(&key)?;
    for i in 0..5 {
        let _: String = connection.xadd(&key, "*", &[("n", i)])?;
    }
    let _: () = connection.xgroup_create(&key, "group", "0")?;
    for (who, count, want) in [("one", 2, 2), ("two", 9, 3)] {
        let options = StreamReadOptions::default().group("group", who).count(count).block(1000);
        let reply: StreamReadReply = connection.xread_options(&[&key], &[">"], &options)?;
        assert_eq!(reply.keys[0].ids.len(), want);
        let ids: Vec<_> = reply.keys[0].ids.iter().map(|entry| entry.id.clone()).collect();
        assert_eq!(connection.xack::<_, _, _, usize>(&key, "group", &ids)?, want);
    }
    Ok(())
}

fn subscriptions(connection: &mut Connection, port: u16, tag: &str) -> RedisResult<()> {
    let (channel, pattern) = (format!("{tag}:news"), format!("{tag}:o*"));
    let mut own = client(port, 2).get_connection()?;
    let mut pubsub = own.as_pubsub();
    pubsub.subscribe(&channel)?;
    pubsub.psubscribe(&pattern)?;
    let _: () = connection.publish(&channel, "hello")?;
    let message = pubsub.get_message()?;
    assert_eq!((message.get_channel_name(), message.get_payload::<String>()?), (&*channel, "hello".into()));
    let _: () = connection.publish(format!("{tag}:other"), "there")?;
    let message = pubsub.get_message()?;
    assert_eq!(message.get_pattern::<String>()?, pattern);
    assert_eq!(message.get_payload::<String>()?, "there");
    pubsub.unsubscribe(&channel)
}

fn as_cluster(port: u16, tag: &str) -> RedisResult<()> {
    let client = ClusterClient::new(vec![format!("redis://127.0.0.1:{port}/")])?;
    let mut connection = client.get_connection()?;
    for i in 0..100 {
        let _: () = connection.set(format!("{tag}:c{i}"), i)?;
    }
    for i in 0..100 {
        assert_eq!(connection.get::<_, i32>(format!("{tag}:c{i}"))?, i);
    }
    let reader = ClusterClient::builder(vec![format!("redis://127.0.0.1:{port}/")]);
    let mut reader = reader.read_routing_strategy(RandomReplicaStrategy).build()?.get_connection()?;
    assert_eq!(reader.get::<_, i32>(format!("{tag}:c7"))?, 7);
    Ok(())
}

fn main() {
    for name in ["SINGLE", "TWO_GROUPS", "CLUSTER"] {
        let port = port(name);
        for protocol in [2, 3] {
            let tag = format!("rs{protocol}:{name}");
            let mut connection = client(port, protocol).get_connection().expect("a connection");
            values(&mut connection, &tag).expect("values");
            pipelines(&mut connection, &tag).expect("pipelines");
            transactions(&mut connection, port, &tag).expect("transactions");
            scripts(&mut connection, &tag).expect("scripts");
            blocking(&mut connection, port, &tag).expect("blocking");
            scans(&mut connection, &tag).expect("scans");
            streams(&mut connection, &tag).expect("streams");
            subscriptions(&mut connection, port, &tag).expect("subscriptions");
        }
        as_cluster(port, &format!("rs:{name}")).expect("a cluster");
    }
    println!("done");
}
