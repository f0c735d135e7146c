"""redis-py with asyncio against the proxy: many things at once on few connections."""

import asyncio
import os

import redis.asyncio as redis
from redis.asyncio.cluster import RedisCluster


async def many(port, tag):
    client = redis.Redis(port=port, decode_responses=True, max_connections=400)
    keys = [f"{tag}:{i}" for i in range(300)]
    await asyncio.gather(*(client.set(key, key) for key in keys))
    assert await asyncio.gather(*(client.get(key) for key in keys)) == keys
    async with client.pipeline(transaction=True) as pipe:
        key = f"{{{tag}}}:n"
        await client.delete(key)
        assert await pipe.incr(key).incr(key).execute() == [1, 2]
    found = {key async for key in client.scan_iter(match=f"{tag}:*")}
    assert found == set(keys)
    await client.aclose()


async def subscription(port, tag):
    client = redis.Redis(port=port, decode_responses=True)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(f"{tag}:channel")

        async def receive():
            async for message in pubsub.listen():
                if message["type"] == "message":
                    return message["data"]
                await client.publish(f"{tag}:channel", "hello")

        assert await asyncio.wait_for(receive(), 20) == "hello"
    await client.aclose()


async def as_cluster(port, tag):
    client = RedisCluster(host="127.0.0.1", port=port, decode_responses=True, max_connections=400)
    await asyncio.gather(*(client.set(f"{tag}:c{i}", i) for i in range(100)))
    got = await asyncio.gather(*(client.get(f"{tag}:c{i}") for i in range(100)))
    assert got == [str(i) for i in range(100)]
    await client.aclose()


async def main():
    for name in ("SINGLE", "TWO_GROUPS", "CLUSTER"):
        port, tag = int(os.environ[name]), f"aio:{name}"
        for part in (many, subscription, as_cluster):
            print(name, part.__name__, flush=True)
            await part(port, tag)


asyncio.run(main())
print("done")
