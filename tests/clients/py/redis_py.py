"""redis-py against the proxy, in the protocol that the first argument names."""

import os
import sys
import threading

import redis
from redis.cluster import ClusterNode, RedisCluster

PROTOCOL = int(sys.argv[1])
SINGLE, TWO_GROUPS, CLUSTER = (int(os.environ[name]) for name in ("SINGLE", "TWO_GROUPS", "CLUSTER"))


def connect(port, **options):
    options.setdefault("decode_responses", True)
    return redis.Redis(port=port, protocol=PROTOCOL, **options)


def connections(port):
    client = connect(port, client_name="test")
    assert client.ping() is True
    assert client.echo("x") == "x"
    assert client.client_getname() == "test"
    assert client.client_id() > 0
    info = client.info()
    assert info["redis_version"] and info["role"] == "master"
    assert client.info("server")["redis_mode"] == "standalone"
    assert client.time()[0] > 1_500_000_000
    assert client.command_count() > 100
    assert client.config_get("save") is not None
    for _ in range(20):
        connect(port).ping()


def values(port, tag):
    client = connect(port)
    client.flushall()
    assert client.set(f"{tag}:s", "1", ex=100) is True
    assert client.get(f"{tag}:s") == "1"
    assert client.get(f"{tag}:none") is None
    assert 0 < client.ttl(f"{tag}:s") <= 100
    assert client.incrby(f"{tag}:s", 41) == 42
    assert client.mset({f"{tag}:{i}": i for i in range(50)}) is True
    assert client.mget([f"{tag}:{i}" for i in range(50)]) == [str(i) for i in range(50)]
    assert client.hset(f"{tag}:h", mapping={"a": "1", "b": "2"}) == 2
    assert client.hgetall(f"{tag}:h") == {"a": "1", "b": "2"}
    assert client.sadd(f"{tag}:set", "a", "b") == 2
    assert client.smembers(f"{tag}:set") == {"a", "b"}
    assert client.zadd(f"{tag}:z", {"a": 1.5, "b": 2}) == 2
    scores = client.zrange(f"{tag}:z", 0, -1, withscores=True)
    assert [tuple(pair) for pair in scores] == [("a", 1.5), ("b", 2.0)]
    assert client.zscore(f"{tag}:z", "a") == 1.5
    assert client.rpush(f"{tag}:l", *range(10)) == 10
    assert client.lrange(f"{tag}:l", 0, 2) == ["0", "1", "2"]
    assert client.geoadd(f"{tag}:g", (13.36, 38.11, "Palermo")) == 1
    assert client.geopos(f"{tag}:g", "Palermo", "none")[1] is None
    assert client.exists(f"{tag}:s", f"{tag}:h", f"{tag}:none") == 2
    assert client.type(f"{tag}:h") == "hash"
    big = "x" * 5_000_000
    assert client.set(f"{tag}:big", big) is True
    assert client.get(f"{tag}:big") == big
    assert client.delete(f"{tag}:big", f"{tag}:s", f"{tag}:none") == 2
    try:
        client.lpush(f"{tag}:h", "x")
        raise AssertionError("a hash is no list")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error), error


def pipelines(port, tag):
    client = connect(port)
    pipeline = client.pipeline(transaction=False)
    for i in range(1000):
        pipeline.set(f"{tag}:p{i}", i)
        pipeline.get(f"{tag}:p{i}")
    assert pipeline.execute() == [x for i in range(1000) for x in (True, str(i))]
    pipeline = client.pipeline(transaction=False)
    pipeline.set(f"{tag}:p", "x").lpush(f"{tag}:p", "y").get(f"{tag}:p")
    replies = pipeline.execute(raise_on_error=False)
    assert isinstance(replies[1], redis.ResponseError) and replies[2] == "x"


def transactions(port, tag):
    client = connect(port)
    key = f"{{{tag}}}:counter"
    client.set(key, 0)
    assert client.pipeline().incr(key).incr(key).get(key).execute() == [1, 2, "2"]

    def add(pipe):
        value = int(pipe.get(key))
        pipe.multi()
        pipe.set(key, value + 1)

    def work():
        own = connect(port)
        for _ in range(20):
            own.transaction(add, key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert client.get(key) == "82"
    lock = client.lock(f"{{{tag}}}:lock", timeout=10)
    assert lock.acquire(blocking=False) and not client.lock(f"{{{tag}}}:lock").acquire(blocking=False)
    lock.release()


def scripts(port, tag):
    client = connect(port)
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for i in range(10):
        client.delete(f"{tag}:script{i}")
        assert script(keys=[f"{tag}:script{i}"], args=[i]) == i
    client.script_flush()
    assert script(keys=[f"{tag}:script1"], args=[1]) == 2
    assert client.eval("return {KEYS[1], ARGV[1], 1}", 1, f"{tag}:k", "a") == [f"{tag}:k", "a", 1]
    sha = client.script_load("return 7")
    assert client.script_exists(sha, "0" * 40) == [True, False]
    assert client.evalsha(sha, 0) == 7


def blocking(port, tag):
    client = connect(port)
    key = f"{{{tag}}}:queue"
    client.delete(key)
    assert client.blpop(key, timeout=1) is None
    got = []
    thread = threading.Thread(target=lambda: got.append(connect(port).blpop([key, key + "2"], timeout=20)))
    thread.start()
    while not got:
        if client.llen(key) == 0:
            client.rpush(key, "x")
    thread.join()
    client.delete(key, key + "2")
    assert tuple(got[0]) == (key, "x"), got
    client.rpush(key, "y")
    assert client.blmove(key, key + "2", 1, "LEFT", "RIGHT") == "y"


def scans(port, tag):
    client = connect(port)
    want = {f"{tag}:scan:{i}" for i in range(300)}
    client.mset({key: 1 for key in want})
    assert set(client.scan_iter(match=f"{tag}:scan:*", count=50)) == want
    assert set(client.keys(f"{tag}:scan:*")) == want
    client.hset(f"{tag}:hash", mapping={f"f{i}": i for i in range(600)})
    assert len(dict(client.hscan_iter(f"{tag}:hash"))) == 600
    client.sadd(f"{tag}:members", *range(600))
    assert len(set(client.sscan_iter(f"{tag}:members"))) == 600
    client.zadd(f"{tag}:scores", {f"m{i}": i for i in range(600)})
    assert len(dict(client.zscan_iter(f"{tag}:scores"))) == 600
    assert client.dbsize() >= 300


def streams(port, tag):
    client = connect(port)
    key = f"{tag}:stream"
    client.delete(key)
    ids = [client.xadd(key, {"n": i}) for i in range(5)]
    assert client.xlen(key) == 5
    assert [entry for entry, _ in client.xrange(key)] == ids
    assert client.xgroup_create(key, "group", id="0") is True
    first = client.xreadgroup("group", "one", {key: ">"}, count=2)
    second = client.xreadgroup("group", "two", {key: ">"}, count=10, block=1000)

    def entries(reply):
        # A list of pairs in RESP2, a map in RESP3.
        pairs = reply.items() if isinstance(reply, dict) else reply
        [(name, found)] = list(pairs)
        assert name == key
        return [entry for part in found for entry in (part if isinstance(part, list) else [part])]

    assert [entry for entry, _ in entries(first)] == ids[:2]
    assert [entry for entry, _ in entries(second)] == ids[2:]
    assert client.xack(key, "group", *ids[:2]) == 2
    assert client.xpending(key, "group")["pending"] == 3
    assert client.xinfo_stream(key)["length"] == 5
    assert client.xinfo_groups(key)[0]["name"] == "group"
    assert not client.xread({key: "$"}, block=100)
    claimed = client.xautoclaim(key, "group", "one", min_idle_time=0)
    assert len(claimed[1]) == 3


def subscriptions(port, tag):
    client = connect(port)
    pubsub = client.pubsub(ignore_subscribe_messages=False)
    pubsub.subscribe(f"{tag}:news")
    pubsub.psubscribe(f"{tag}:o*")

    def message():
        while True:
            got = pubsub.get_message(timeout=20)
            assert got is not None, "no message"
            return got

    kinds = [message()["type"], message()["type"]]
    assert kinds == ["subscribe", "psubscribe"], kinds
    client.publish(f"{tag}:news", "hello")
    got = message()
    assert (got["type"], got["channel"], got["data"]) == ("message", f"{tag}:news", "hello"), got
    client.publish(f"{tag}:other", "there")
    got = message()
    assert (got["type"], got["pattern"], got["data"]) == ("pmessage", f"{tag}:o*", "there"), got
    pubsub.ping()
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    pubsub.close()


def as_cluster(port, tag):
    client = RedisCluster(
        startup_nodes=[ClusterNode("127.0.0.1", port)], protocol=PROTOCOL, decode_responses=True
    )
    nodes = client.get_nodes()
    assert len(nodes) == 1 and nodes[0].port == port, nodes
    for i in range(100):
        assert client.set(f"{tag}:c{i}", i) is True
    assert [client.get(f"{tag}:c{i}") for i in range(100)] == [str(i) for i in range(100)]
    pipeline = client.pipeline()
    for i in range(100):
        pipeline.get(f"{tag}:c{i}")
    assert pipeline.execute() == [str(i) for i in range(100)]
    assert client.mget_nonatomic([f"{tag}:c1", f"{tag}:c2"]) == ["1", "2"]
    assert client.delete(f"{tag}:c1", f"{tag}:c2") == 2
    assert set(client.scan_iter(match=f"{tag}:c*")) == {f"{tag}:c{i}" for i in range(100)} - {f"{tag}:c1", f"{tag}:c2"}
    assert client.keyslot("foo") == client.cluster_keyslot("foo") == 12182
    assert client.cluster_info()["cluster_state"] == "ok"
    assert client.dbsize() > 0
    assert client.eval("return KEYS[1]", 1, f"{tag}:k") == f"{tag}:k"
    reader = RedisCluster(host="127.0.0.1", port=port, read_from_replicas=True, decode_responses=True)
    assert reader.get(f"{tag}:c3") == "3"


for kind, port in (("single", SINGLE), ("groups", TWO_GROUPS), ("cluster", CLUSTER)):
    tag = f"py{PROTOCOL}:{kind}"
    connections(port)
    for part in (values, pipelines, transactions, scripts, blocking, scans, streams, subscriptions, as_cluster):
        print(kind, part.__name__, flush=True)
        part(port, tag)
for database in (0, 3):
    client = connect(SINGLE, db=database)
    client.set("py:db", database)
    assert client.get("py:db") == str(database)
print("redis-py", redis.__version__)
print("done")
