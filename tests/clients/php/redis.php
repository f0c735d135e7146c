<?php
// phpredis against the proxy, as people use it.
error_reporting(E_ALL);
set_error_handler(fn($n, $text) => throw new ErrorException($text));

function is(string $what, mixed $got, mixed $want): void
{
    if ($got !== $want) {
        throw new Exception("$what: " . var_export($got, true) . ' instead of ' . var_export($want, true));
    }
}

function values(object $r, string $name): void
{
    is('set', $r->set("{{$name}}a", "\x00\xff"), true);
    is('get', $r->get("{{$name}}a"), "\x00\xff");
    $r->del("{{$name}}h", "{{$name}}z", "{{$name}}l");
    is('hmset', $r->hMSet("{{$name}}h", ['f' => '1', 'g' => '2']), true);
    is('hgetall', $r->hGetAll("{{$name}}h"), ['f' => '1', 'g' => '2']);
    is('zadd', $r->zAdd("{{$name}}z", 1.5, 'x'), 1);
    is('zrange', $r->zRange("{{$name}}z", 0, -1, true), ['x' => 1.5]);
    is('rpush', $r->rPush("{{$name}}l", 'x', 'y'), 2);
    is('blpop', $r->blPop(["{{$name}}l"], 5), ["{{$name}}l", 'x']);
    is('ttl', [$r->setEx("{{$name}}e", 100, 'x'), $r->ttl("{{$name}}e") > 90], [true, true]);
    $pairs = [];
    for ($n = 0; $n < 10; $n++) {
        $pairs["$name:$n"] = "$n";
    }
    is('mset', $r->mSet($pairs), true);
    is('mget', $r->mGet(array_keys($pairs)), array_values($pairs));
    is('del', $r->del(array_keys($pairs)), 10);
    is('wrong type', [$r->lPush("{{$name}}a", 'x'), substr($r->getLastError(), 0, 9)], [false, 'WRONGTYPE']);
    $r->clearLastError();
    is('eval', $r->eval('return {KEYS[1], ARGV[1]}', ["{{$name}}s", 'x'], 1), ["{{$name}}s", 'x']);
    $digest = sha1("return redis.call('GET', KEYS[1])");
    is('no script', $r->evalSha('f' . substr($digest, 1), ["{{$name}}e"], 1), false);
    is('transaction', $r->multi()->set("{{$name}}t", '1')->incr("{{$name}}t")->exec(), [true, 2]);
    $r->del("{{$name}}st");
    is('xadd', $r->xAdd("{{$name}}st", '1-1', ['f' => 'v']), '1-1');
    is('xgroup', $r->xGroup('CREATE', "{{$name}}st", 'g', '0'), true);
    is('xreadgroup', $r->xReadGroup('g', 'c', ["{{$name}}st" => '>']), ["{{$name}}st" => ['1-1' => ['f' => 'v']]]);
}

foreach (['SINGLE', 'TWO_GROUPS', 'CLUSTER'] as $pool) {
    $port = (int) getenv($pool);
    $name = "php:$pool:";
    $r = new Redis();
    $r->connect('127.0.0.1', $port);
    is('ping', $r->ping('x'), 'x');
    is('name', [$r->client('setname', 'php'), $r->client('getname')], [true, 'php']);
    values($r, $name);
    $r->watch("{{$name}}t");
    $r->set("{{$name}}t", '5');
    is('watch', $r->multi()->incr("{{$name}}t")->exec(), false);
    $replies = $r->pipeline()->set("{{$name}}p", '1')->incr("{{$name}}p")->get("{{$name}}p")->exec();
    is('pipeline', $replies, [true, 2, '2']);
    $digest = $r->script('load', "return redis.call('GET', KEYS[1])");
    is('evalsha', $r->evalSha($digest, ["{{$name}}p"], 1), '2');
    for ($n = 0; $n < 20; $n++) {
        $r->set("{$name}scan:$n", 'x');
    }
    [$cursor, $found] = [null, []];
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    while (($keys = $r->scan($cursor, "{$name}scan:*")) !== false) {
        $found = array_merge($found, $keys);
    }
    is('scan', count(array_unique($found)), 20);
    is('info', [isset($r->info()['redis_version']), $r->info('server')['redis_mode']], [true, 'standalone']);

    $listener = new Redis();
    $listener->connect('127.0.0.1', $port);
    // The subscription is confirmed before anything else is done, so the message is seen.
    $speaker = proc_open([PHP_BINARY, '-r', '
        $r = new Redis(); $r->connect("127.0.0.1", (int) $argv[1]);
        while ($r->publish($argv[2], "hello") == 0) usleep(1000);', (string) $port, "{$name}channel"], [], $pipes);
    $heard = [];
    try {
        $listener->subscribe(["{$name}channel"], function ($r, $channel, $text) use (&$heard) {
            $heard = [$channel, $text];
            // Nothing else ends the loop in which it listens.
            $r->close();
        });
    } catch (RedisException) {
    }
    is('message', $heard, ["{$name}channel", 'hello']);
    proc_close($speaker);

    $cluster = new RedisCluster(null, ["127.0.0.1:$port"]);
    is('masters', $cluster->_masters(), [['127.0.0.1', $port]]);
    is('ping', $cluster->ping("{$name}a"), true);
    values($cluster, "{$name}c");
}
echo "done\n";
