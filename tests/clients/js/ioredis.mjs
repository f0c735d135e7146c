// ioredis against the proxy.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { Redis, Cluster } from "ioredis";

const port = (name) => Number(process.env[name]);
const range = (count) => [...Array(count).keys()];
const connect = (at, options = {}) => new Redis(at, { showFriendlyErrorStack: true, ...options });

async function values(client, tag) {
  assert.equal(await client.ping(), "PONG");
  assert.match(await client.info(), /redis_version:/);
  assert.equal(await client.set(`${tag}:s`, "1", "EX", 100), "OK");
  assert.equal(await client.incrby(`${tag}:s`, 41), 42);
  assert.equal(await client.get(`${tag}:none`), null);
  await client.mset(Object.fromEntries(range(50).map((i) => [`${tag}:${i}`, i])));
  assert.deepEqual(await client.mget(range(50).map((i) => `${tag}:${i}`)), range(50).map(String));
  await client.hset(`${tag}:h`, { a: 1, b: 2 });
  assert.deepEqual(await client.hgetall(`${tag}:h`), { a: "1", b: "2" });
  await client.zadd(`${tag}:z`, 1.5, "a", 2, "b");
  assert.deepEqual(await client.zrange(`${tag}:z`, 0, -1, "WITHSCORES"), ["a", "1.5", "b", "2"]);
  const big = Buffer.alloc(3_000_000, "x");
  await client.set(`${tag}:big`, big);
  assert.deepEqual(await client.getBuffer(`${tag}:big`), big);
  assert.equal(await client.del(`${tag}:big`, `${tag}:s`, `${tag}:none`), 2);
  await assert.rejects(client.lpush(`${tag}:h`, "x"), /WRONGTYPE/);
}

async function pipelines(client, tag) {
  const pipeline = client.pipeline();
  for (const i of range(1000)) pipeline.set(`${tag}:p${i}`, i).get(`${tag}:p${i}`);
  const replies = await pipeline.exec();
  assert.deepEqual(replies, range(1000).flatMap((i) => [[null, "OK"], [null, String(i)]]));
  const all = await Promise.all(range(1000).map((i) => client.get(`${tag}:p${i}`)));
  assert.deepEqual(all, range(1000).map(String));
}

async function transactions(client, tag) {
  const key = `{${tag}}:n`;
  await client.del(key);
  assert.deepEqual(await client.multi().incr(key).incr(key).exec(), [[null, 1], [null, 2]]);
  const other = client.duplicate();
  await client.watch(key);
  await other.incr(key);
  assert.equal(await client.multi().incr(key).exec(), null);
  assert.equal(await client.get(key), "3");
  await other.quit();
}

async function scripts(client, tag) {
  client.defineCommand("addTo", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  for (const i of range(10)) {
    await client.del(`${tag}:script${i}`);
    assert.equal(await client.addTo(`${tag}:script${i}`, i), i);
  }
}

async function blocking(client, tag) {
  const [key, other] = [`{${tag}}:queue`, client.duplicate()];
  await client.del(key);
  assert.equal(await other.blpop(key, 0.1), null);
  const waiting = other.blpop(key, 20);
  await client.rpush(key, "x");
  assert.deepEqual(await waiting, [key, "x"]);
  await other.quit();
}

async function scans(client, tag) {
  const want = range(300).map((i) => `${tag}:scan:${i}`);
  await client.mset(want.flatMap((key) => [key, 1]));
  const found = new Set();
  for await (const keys of client.scanStream({ match: `${tag}:scan:*`, count: 50 })) keys.forEach((key) => found.add(key));
  assert.deepEqual([...found].sort(), want.sort());
}

async function streams(client, tag) {
  const key = `${tag}:stream`;
  await client.del(key);
  const ids = [];
  for (const i of range(5)) ids.push(await client.xadd(key, "*", "n", i));
  await client.xgroup("CREATE", key, "group", "0");
  const first = await client.xreadgroup("GROUP", "group", "one", "COUNT", 2, "STREAMS", key, ">");
  const second = await client.xreadgroup("GROUP", "group", "two", "COUNT", 9, "BLOCK", 1000, "STREAMS", key, ">");
  assert.deepEqual(first[0][1].map(([id]) => id), ids.slice(0, 2));
  assert.deepEqual(second[0][1].map(([id]) => id), ids.slice(2));
  assert.equal(await client.xack(key, "group", ...ids), 5);
  const other = client.duplicate();
  const waiting = other.xread("BLOCK", 20_000, "STREAMS", key, "$");
  await new Promise((resolve) => setImmediate(resolve));
  let got = null;
  waiting.then((reply) => (got = reply));
  while (got === null) await client.xadd(key, "*", "late", 1);
  assert.equal(got[0][0], key);
  await other.quit();
}

async function subscriptions(client, tag) {
  const subscriber = client.duplicate();
  const heard = new Promise((resolve) => subscriber.on("message", (channel, text) => resolve([channel, text])));
  const matched = new Promise((resolve) => subscriber.on("pmessage", (...words) => resolve(words)));
  await subscriber.subscribe(`${tag}:news`);
  await subscriber.psubscribe(`${tag}:o*`);
  await client.publish(`${tag}:news`, "hello");
  await client.publish(`${tag}:other`, "there");
  assert.deepEqual(await heard, [`${tag}:news`, "hello"]);
  assert.deepEqual(await matched, [`${tag}:o*`, `${tag}:other`, "there"]);
  await subscriber.unsubscribe(`${tag}:news`);
  await subscriber.punsubscribe(`${tag}:o*`);
  assert.equal(await subscriber.ping(), "PONG");
  await subscriber.quit();
}

async function asCluster(at, tag) {
  const client = new Cluster([{ host: "127.0.0.1", port: at }]);
  await Promise.all(range(100).map((i) => client.set(`${tag}:c${i}`, i)));
  assert.deepEqual(await Promise.all(range(100).map((i) => client.get(`${tag}:c${i}`))), range(100).map(String));
  assert.equal(client.nodes("master").length, 1);
  const key = `{${tag}}:tx`;
  await client.del(key);
  assert.deepEqual(await client.multi().incr(key).exec(), [[null, 1]]);
  const pipeline = client.pipeline();
  for (const i of range(10)) pipeline.get(`${tag}:c${i}`);
  assert.deepEqual((await pipeline.exec()).map(([, value]) => value), range(10).map(String));
  const reader = new Cluster([{ host: "127.0.0.1", port: at }], { scaleReads: "slave" });
  assert.equal(await reader.get(`${tag}:c7`), "7");
  await reader.quit();
  await client.quit();
}

for (const name of ["SINGLE", "TWO_GROUPS", "CLUSTER"]) {
  const tag = `io:${name}`;
  const client = connect(port(name), { connectionName: "test" });
  for (const part of [values, pipelines, transactions, scripts, blocking, scans, streams, subscriptions]) {
    console.log(name, part.name);
    await part(client, tag);
  }
  await client.quit();
  console.log(name, "asCluster");
  await asCluster(port(name), tag);
}
const database = connect(port("SINGLE"), { db: 3 });
await database.set("io:db", 3);
assert.equal(await database.get("io:db"), "3");
await database.quit();
console.log("ioredis", createRequire(import.meta.url)("ioredis/package.json").version);
console.log("done");
