// node-redis against the proxy, in the protocol that the first argument names.

import assert from "node:assert/strict";
import { createClient, createCluster } from "redis";

const RESP = Number(process.argv[2]);
const port = (name) => Number(process.env[name]);
const range = (count) => [...Array(count).keys()];

async function connect(at, options = {}) {
  const client = createClient({ url: `redis://127.0.0.1:${at}`, RESP, ...options });
  client.on("error", (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

async function values(client, tag) {
  assert.equal(await client.ping(), "PONG");
  await client.set(`${tag}:s`, "1", { EX: 100 });
  assert.equal(await client.incrBy(`${tag}:s`, 41), 42);
  assert.equal(await client.get(`${tag}:none`), null);
  await client.mSet(range(50).map((i) => [`${tag}:${i}`, String(i)]));
  assert.deepEqual(await client.mGet(range(50).map((i) => `${tag}:${i}`)), range(50).map(String));
  await client.hSet(`${tag}:h`, { a: "1", b: "2" });
  assert.deepEqual({ ...(await client.hGetAll(`${tag}:h`)) }, { a: "1", b: "2" });
  await client.sAdd(`${tag}:set`, ["a", "b"]);
  assert.deepEqual([...(await client.sMembers(`${tag}:set`))].sort(), ["a", "b"]);
  await client.zAdd(`${tag}:z`, [{ score: 1.5, value: "a" }, { score: 2, value: "b" }]);
  assert.equal(await client.zScore(`${tag}:z`, "a"), 1.5);
  assert.equal((await client.zRangeWithScores(`${tag}:z`, 0, -1))[0].score, 1.5);
  const big = "x".repeat(3_000_000);
  await client.set(`${tag}:big`, big);
  assert.equal(await client.get(`${tag}:big`), big);
  assert.equal(await client.del([`${tag}:big`, `${tag}:s`, `${tag}:none`]), 2);
  await assert.rejects(client.lPush(`${tag}:h`, "x"), /WRONGTYPE/);
}

async function pipelines(client, tag) {
  await Promise.all(range(1000).map((i) => client.set(`${tag}:p${i}`, String(i))));
  const all = await Promise.all(range(1000).map((i) => client.get(`${tag}:p${i}`)));
  assert.deepEqual(all, range(1000).map(String));
}

async function transactions(client, tag) {
  const key = `{${tag}}:n`;
  await client.del(key);
  assert.deepEqual(await client.multi().incr(key).incr(key).get(key).exec(), [1, 2, "2"]);
  const other = client.duplicate();
  await other.connect();
  await client.watch(key);
  await other.incr(key);
  await assert.rejects(client.multi().incr(key).exec(), /watched keys/i);
  await other.quit?.() ?? other.close();
}

async function scripts(client, tag) {
  for (const i of range(10)) {
    assert.deepEqual(await client.eval("return {KEYS[1], ARGV[1]}", { keys: [`${tag}:k${i}`], arguments: ["a"] }), [`${tag}:k${i}`, "a"]);
  }
  const sha = await client.scriptLoad("return 7");
  assert.equal(await client.evalSha(sha), 7);
}

async function blocking(client, tag) {
  const [key, other] = [`{${tag}}:queue`, client.duplicate()];
  await other.connect();
  await client.del(key);
  assert.equal(await other.blPop(key, 0.1), null);
  const waiting = other.blPop(key, 20);
  await client.rPush(key, "x");
  assert.deepEqual({ ...(await waiting) }, { key, element: "x" });
  await other.close();
}

async function scans(client, tag) {
  const want = range(300).map((i) => `${tag}:scan:${i}`);
  await client.mSet(want.map((key) => [key, "1"]));
  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: `${tag}:scan:*`, COUNT: 50 })) [keys].flat().forEach((key) => found.add(key));
  assert.deepEqual([...found].sort(), want.sort());
}

async function streams(client, tag) {
  const key = `${tag}:stream`;
  await client.del(key);
  const ids = [];
  for (const i of range(5)) ids.push(await client.xAdd(key, "*", { n: String(i) }));
  await client.xGroupCreate(key, "group", "0");
  const read = async (who, count) => {
    const reply = await client.xReadGroup("group", who, { key, id: ">" }, { COUNT: count });
    return reply[0].messages.map(({ id }) => id);
  };
  assert.deepEqual(await read("one", 2), ids.slice(0, 2));
  assert.deepEqual(await read("two", 9), ids.slice(2));
  assert.equal(await client.xAck(key, "group", ids), 5);
  assert.equal((await client.xInfoStream(key)).length, 5);
}

async function subscriptions(client, tag) {
  const subscriber = client.duplicate();
  await subscriber.connect();
  let heard, matched;
  const all = [new Promise((resolve) => (heard = resolve)), new Promise((resolve) => (matched = resolve))];
  await subscriber.subscribe(`${tag}:news`, (text, channel) => heard([channel, text]));
  await subscriber.pSubscribe(`${tag}:o*`, (text, channel) => matched([channel, text]));
  await client.publish(`${tag}:news`, "hello");
  await client.publish(`${tag}:other`, "there");
  assert.deepEqual(await Promise.all(all), [[`${tag}:news`, "hello"], [`${tag}:other`, "there"]]);
  await subscriber.unsubscribe();
  await subscriber.pUnsubscribe();
  await subscriber.close();
}

async function asCluster(at, tag) {
  const client = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${at}` }], RESP });
  await client.connect();
  await Promise.all(range(100).map((i) => client.set(`${tag}:c${i}`, String(i))));
  assert.deepEqual(await Promise.all(range(100).map((i) => client.get(`${tag}:c${i}`))), range(100).map(String));
  assert.equal(client.masters.length, 1);
  await client.close();
}

for (const name of ["SINGLE", "TWO_GROUPS", "CLUSTER"]) {
  const tag = `node${RESP}:${name}`;
  const client = await connect(port(name), { name: "test" });
  for (const part of [values, pipelines, transactions, scripts, blocking, scans, streams, subscriptions]) {
    console.log(name, part.name);
    await part(client, tag);
  }
  await client.close();
  console.log(name, "asCluster");
  await asCluster(port(name), tag);
}
const database = await connect(port("SINGLE"), { database: 3 });
await database.set("node:db", "3");
assert.equal(await database.get("node:db"), "3");
await database.close();
console.log("done");
