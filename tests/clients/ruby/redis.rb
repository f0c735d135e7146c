# redis-rb against the proxy, as people use it.
require 'redis'

def is(what, got, want)
  raise "#{what}: #{got.inspect} instead of #{want.inspect}" unless got == want
end

def values(r, name)
  is 'ping', r.ping, 'PONG'
  r.del("{#{name}}a", "{#{name}}h", "{#{name}}z")
  is 'set', r.set("{#{name}}a", "\x00\xff".b), 'OK'
  is 'get', r.get("{#{name}}a").b, "\x00\xff".b
  is 'mapped', (r.hset("{#{name}}h", 'f', '1', 'g', '2'); r.hgetall("{#{name}}h")), { 'f' => '1', 'g' => '2' }
  is 'floats', (r.zadd("{#{name}}z", [[1.5, 'x'], [2, 'y']]); r.zrange("{#{name}}z", 0, -1, with_scores: true)),
     [['x', 1.5], ['y', 2.0]]
  keys = (0..9).map { |n| "#{name}:#{n}" }
  keys.each { |key| r.set(key, key) }
  is 'mget', keys.map { |key| r.get(key) }, keys
  begin
    r.lpush("{#{name}}a", 1)
    raise 'no error'
  rescue Redis::CommandError => e
    raise e unless e.message.start_with?('WRONGTYPE')
  end
end

def transactions(r, name)
  key = "{#{name}}t"
  r.set(key, 1)
  is 'multi', r.multi { |t| t.incr(key); t.get(key) }, [2, '2']
  r.watch(key) do
    r.set(key, 5)
    is 'watch', r.multi { |t| t.incr(key) }, nil
  end
  is 'pipeline', r.pipelined { |p| 5.times { p.incr(key) } }, [6, 7, 8, 9, 10]
end

def scripts(r, name)
  digest = r.script(:load, "return {KEYS[1], ARGV[1]}")
  is 'evalsha', r.evalsha(digest, keys: ["{#{name}}s"], argv: ['x']), ["{#{name}}s", 'x']
  is 'exists', r.script(:exists, [digest, 'f' * 40]), [true, false]
end

def streams(r, name)
  key = "{#{name}}stream"
  r.del(key)
  r.xadd(key, { 'f' => 'v' }, id: '1-1')
  r.xgroup(:create, key, 'g', '0')
  is 'xreadgroup', r.xreadgroup('g', 'c', key, '>'), { key => [['1-1', { 'f' => 'v' }]] }
  is 'xack', r.xack(key, 'g', '1-1'), 1
end

def blocking(r, name)
  key = "{#{name}}list"
  r.del(key)
  pusher = Thread.new { Redis.new(port: r.connection[:port]).lpush(key, 'x') } if r.respond_to?(:connection)
  is 'blpop', r.blpop(key, timeout: 10), [key, 'x']
  pusher.join
  is 'in vain', r.blpop(key, timeout: 0.01), nil
end

def messages(port, name)
  got = []
  Redis.new(port: port).subscribe("#{name}one", "#{name}two") do |on|
    on.subscribe { |_, total| Redis.new(port: port).publish("#{name}two", 'hello') if total == 2 }
    on.message { |channel, text| got << [channel, text]; raise StopIteration }
  end
rescue StopIteration
  is 'message', got, [["#{name}two", 'hello']]
end

%w[SINGLE TWO_GROUPS CLUSTER].each do |pool|
  port = Integer(ENV.fetch(pool))
  name = "rb:#{pool}:"
  r = Redis.new(port: port, id: 'ruby')
  is 'name', r.call('CLIENT', 'GETNAME'), 'ruby'
  values(r, name)
  transactions(r, name)
  scripts(r, name)
  streams(r, name)
  blocking(r, name)
  messages(port, name)
  found = r.scan_each(match: "#{name}*", count: 7).to_a.uniq.sort
  is 'scan', found, (0..9).map { |n| "#{name}:#{n}" }

  # It asks CLUSTER SLOTS, CLUSTER NODES and COMMAND before anything else.
  cluster = Redis.new(cluster: ["redis://127.0.0.1:#{port}"], replica: true)
  values(cluster, "#{name}c")
  is 'pipelined', cluster.pipelined { |p| p.set("{#{name}}p", 1); p.get("{#{name}}p") }, %w[OK 1]
  is 'transaction', cluster.multi { |t| t.set("{#{name}}p", 2); t.get("{#{name}}p") }, %w[OK 2]
end
puts 'done'
