//! Answers of real clusters to CLUSTER NODES, for the tests: word for word, but for the one whose
//! node is on IPv6, which is one line of three.

/// Redis 6.2: three masters, three replicas.
pub const REDIS_6_2_STABLE: &str = "\
13dc20ed010a01bdc4e4ca238a5d24d78b05a69a 127.0.0.1:31603@41603 slave 987cdf5e002759f61850f0199059cbdd7d6abf2c 0 1795392982498 3 connected
06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600@41600 myself,master - 0 1795392981000 1 connected 0-5460
57b839cc70cf909fbf03c2484adab4e526d137e9 127.0.0.1:31604@41604 slave 06cc5599588db6e11f5144907d3ecc5f682ff855 0 1795392982598 1 connected
987cdf5e002759f61850f0199059cbdd7d6abf2c 127.0.0.1:31602@41602 master - 0 1795392982096 3 connected 10923-16383
defd04b2b7dad739297ca836d692b86850f14295 127.0.0.1:31601@41601 master - 0 1795392982000 2 connected 5461-10922
7e3ac53984e72ec7bc5cb0350f445bfd76ce897d 127.0.0.1:31605@41605 slave defd04b2b7dad739297ca836d692b86850f14295 0 1795392982000 2 connected
";

/// Redis 6.2: two slots on their way out of the node that was asked.
pub const REDIS_6_2_MIGRATING: &str = "\
13dc20ed010a01bdc4e4ca238a5d24d78b05a69a 127.0.0.1:31603@41603 slave 987cdf5e002759f61850f0199059cbdd7d6abf2c 0 1795392983907 3 connected
06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600@41600 myself,master - 0 1795392983000 1 connected 0-5460 [100->-defd04b2b7dad739297ca836d692b86850f14295] [200->-defd04b2b7dad739297ca836d692b86850f14295]
57b839cc70cf909fbf03c2484adab4e526d137e9 127.0.0.1:31604@41604 slave 06cc5599588db6e11f5144907d3ecc5f682ff855 0 1795392984108 1 connected
987cdf5e002759f61850f0199059cbdd7d6abf2c 127.0.0.1:31602@41602 master - 0 1795392983706 3 connected 10923-16383
defd04b2b7dad739297ca836d692b86850f14295 127.0.0.1:31601@41601 master - 0 1795392983605 2 connected 5461-10922
7e3ac53984e72ec7bc5cb0350f445bfd76ce897d 127.0.0.1:31605@41605 slave defd04b2b7dad739297ca836d692b86850f14295 0 1795392984000 2 connected
";

/// Redis 6.2: one node that is met, and one that will never answer. A slot was moved.
pub const REDIS_6_2_HANDSHAKE: &str = "\
06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600@41600 master - 0 1795392984051 1 connected 0-99 101-5460
13dc20ed010a01bdc4e4ca238a5d24d78b05a69a 127.0.0.1:31603@41603 slave 987cdf5e002759f61850f0199059cbdd7d6abf2c 0 1795392983850 3 connected
baab5bcee5b10569f0e5c5f26ccd7ddd1a378063 127.0.0.1:31607@41607 handshake - 0 0 0 disconnected
57b839cc70cf909fbf03c2484adab4e526d137e9 127.0.0.1:31604@41604 slave 06cc5599588db6e11f5144907d3ecc5f682ff855 0 1795392983850 1 connected
7e3ac53984e72ec7bc5cb0350f445bfd76ce897d 127.0.0.1:31605@41605 slave defd04b2b7dad739297ca836d692b86850f14295 0 1795392984000 7 connected
defd04b2b7dad739297ca836d692b86850f14295 127.0.0.1:31601@41601 master - 0 1795392984251 7 connected 100 5461-10922
987cdf5e002759f61850f0199059cbdd7d6abf2c 127.0.0.1:31602@41602 myself,master - 0 1795392983000 3 connected 10923-16383
3642eea8592f914cb821033028d99357cdbf9870 127.0.0.1:31606@41606 master - 0 1795392984352 0 connected
";

/// Redis 6.2: a node that knows nobody, and not even its own address.
pub const REDIS_6_2_FRESH: &str = "\
3642eea8592f914cb821033028d99357cdbf9870 :31606@41606 myself,master - 0 0 0 connected
";

/// Redis 6.2: a master was killed; the node that was asked is the first to notice.
pub const REDIS_6_2_MAY_FAIL: &str = "\
3642eea8592f914cb821033028d99357cdbf9870 127.0.0.1:31606@41606 master - 0 1795392987027 0 connected
13dc20ed010a01bdc4e4ca238a5d24d78b05a69a 127.0.0.1:31603@41603 slave,nofailover 987cdf5e002759f61850f0199059cbdd7d6abf2c 0 1795392987000 3 connected
06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600@41600 myself,master - 0 1795392986000 1 connected 0-99 101-5460
57b839cc70cf909fbf03c2484adab4e526d137e9 127.0.0.1:31604@41604 slave 06cc5599588db6e11f5144907d3ecc5f682ff855 0 1795392987000 1 connected
987cdf5e002759f61850f0199059cbdd7d6abf2c 127.0.0.1:31602@41602 master - 0 1795392986927 3 connected 10923-16383
defd04b2b7dad739297ca836d692b86850f14295 127.0.0.1:31601@41601 master,fail? - 1795392985919 1795392985114 7 disconnected 100 5461-10922
7e3ac53984e72ec7bc5cb0350f445bfd76ce897d 127.0.0.1:31605@41605 slave defd04b2b7dad739297ca836d692b86850f14295 0 1795392987128 7 connected
";

/// Redis 6.2: its replica has taken over. A node without slots has joined.
pub const REDIS_6_2_FAILED_OVER: &str = "\
3642eea8592f914cb821033028d99357cdbf9870 127.0.0.1:31606@41606 master - 0 1795392990653 0 connected
13dc20ed010a01bdc4e4ca238a5d24d78b05a69a 127.0.0.1:31603@41603 slave,nofailover 987cdf5e002759f61850f0199059cbdd7d6abf2c 0 1795392990250 3 connected
06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600@41600 myself,master - 0 1795392990000 1 connected 0-99 101-5460
57b839cc70cf909fbf03c2484adab4e526d137e9 127.0.0.1:31604@41604 slave 06cc5599588db6e11f5144907d3ecc5f682ff855 0 1795392990653 1 connected
987cdf5e002759f61850f0199059cbdd7d6abf2c 127.0.0.1:31602@41602 master - 0 1795392990753 3 connected 10923-16383
defd04b2b7dad739297ca836d692b86850f14295 127.0.0.1:31601@41601 master,fail - 1795392985919 1795392985114 7 disconnected
7e3ac53984e72ec7bc5cb0350f445bfd76ce897d 127.0.0.1:31605@41605 master - 0 1795392990955 8 connected 100 5461-10922
";

/// Redis 7.0: a slot on its way to the node that was asked; two nodes announce a host name.
pub const REDIS_7_0_MIGRATING: &str = "\
5f32dc559fa161285d14acdce819efcdb03fbc62 127.0.0.1:31702@41702 master - 0 1795392995606 3 connected 10923-16383
35686245c1aad6a82d00b9693a8d13b4f7adb80b 127.0.0.1:31705@41705 slave 7b37fc1b546e0d875ed3af7332488e285cf3ae14 0 1795392996007 1 connected
761ff1dc35274fff93736cfe21cc0df7a720f54b 127.0.0.1:31704@41704 slave 5f32dc559fa161285d14acdce819efcdb03fbc62 0 1795392995807 3 connected
d11869080cea53b68cfcd57adaf69684ac6f4764 127.0.0.1:31703@41703,node-3.redis.example.internal slave 66191c47f60193e48ca7be3d6e51ea123c5d6fe7 0 1795392995907 2 connected
66191c47f60193e48ca7be3d6e51ea123c5d6fe7 127.0.0.1:31701@41701 myself,master - 0 1795392995000 2 connected 5461-10922 [100-<-7b37fc1b546e0d875ed3af7332488e285cf3ae14]
7b37fc1b546e0d875ed3af7332488e285cf3ae14 127.0.0.1:31700@41700,node-0.redis.example.internal master - 0 1795392995405 1 connected 0-5460
";

/// Redis 7.0: seen from a replica that must not take over.
pub const REDIS_7_0_REPLICA_ASKED: &str = "\
35686245c1aad6a82d00b9693a8d13b4f7adb80b 127.0.0.1:31705@41705 slave 7b37fc1b546e0d875ed3af7332488e285cf3ae14 0 1795392997000 1 connected
d11869080cea53b68cfcd57adaf69684ac6f4764 127.0.0.1:31703@41703,node-3.redis.example.internal myself,slave,nofailover 66191c47f60193e48ca7be3d6e51ea123c5d6fe7 0 1795392996000 7 connected
761ff1dc35274fff93736cfe21cc0df7a720f54b 127.0.0.1:31704@41704 slave 5f32dc559fa161285d14acdce819efcdb03fbc62 0 1795392997415 3 connected
66191c47f60193e48ca7be3d6e51ea123c5d6fe7 127.0.0.1:31701@41701 master - 0 1795392996913 7 connected 100 5461-10922
5f32dc559fa161285d14acdce819efcdb03fbc62 127.0.0.1:31702@41702 master - 0 1795392997000 3 connected 10923-16383
067053d4902f3b83dd2ed6c5bd31335e5db370b3 127.0.0.1:31706@41706 master - 0 1795392997516 0 connected
7b37fc1b546e0d875ed3af7332488e285cf3ae14 127.0.0.1:31700@41700,node-0.redis.example.internal master - 0 1795392997114 1 connected 0-99 101-5460
";

/// Redis 7.0: a master without a successor and a replica have failed.
pub const REDIS_7_0_FAILED: &str = "\
067053d4902f3b83dd2ed6c5bd31335e5db370b3 127.0.0.1:31706@41706 master - 0 1795393005866 0 connected
d11869080cea53b68cfcd57adaf69684ac6f4764 127.0.0.1:31703@41703,node-3.redis.example.internal slave,fail,nofailover 66191c47f60193e48ca7be3d6e51ea123c5d6fe7 1795393002847 1795393002042 7 disconnected
7b37fc1b546e0d875ed3af7332488e285cf3ae14 127.0.0.1:31700@41700,node-0.redis.example.internal myself,master - 0 1795393005000 1 connected 0-99 101-5460
761ff1dc35274fff93736cfe21cc0df7a720f54b 127.0.0.1:31704@41704 slave 5f32dc559fa161285d14acdce819efcdb03fbc62 0 1795393006068 3 connected
35686245c1aad6a82d00b9693a8d13b4f7adb80b 127.0.0.1:31705@41705 slave 7b37fc1b546e0d875ed3af7332488e285cf3ae14 0 1795393005766 1 connected
5f32dc559fa161285d14acdce819efcdb03fbc62 127.0.0.1:31702@41702 master - 0 1795393005766 3 connected 10923-16383
66191c47f60193e48ca7be3d6e51ea123c5d6fe7 127.0.0.1:31701@41701 master,fail - 1795392997817 1795392997012 7 disconnected 100 5461-10922
";

/// Redis 8.2: two slots on their way out; two nodes announce a host name.
pub const REDIS_8_2_MIGRATING: &str = "\
51f2d8030a8dcc5f5d8fce817bf4638c80414d29 127.0.0.1:31805@41805 slave 8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 0 1795393007354 2 connected
946aa5c3a11e3cf3704e1c62c2f4a7ca6b011bfe 127.0.0.1:31804@41804 slave 0e926c369b93c91f631c289a06a17145aa0377a0 0 1795393007757 1 connected
9fb8254b82f960e2356fab55f7f7909e154de780 127.0.0.1:31803@41803,node-3.redis.example.internal slave 9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 0 1795393007757 3 connected
9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 127.0.0.1:31802@41802 master - 0 1795393007656 3 connected 10923-16383
8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 127.0.0.1:31801@41801 master - 0 1795393007153 2 connected 5461-10922
0e926c369b93c91f631c289a06a17145aa0377a0 127.0.0.1:31800@41800,node-0.redis.example.internal myself,master - 0 0 1 connected 0-5460 [100->-8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b] [200->-8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b]
";

/// Redis 8.2: a node without slots has joined, one slot was moved.
pub const REDIS_8_2_STABLE: &str = "\
51f2d8030a8dcc5f5d8fce817bf4638c80414d29 127.0.0.1:31805@41805 slave 8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 0 1795393008962 7 connected
14886c6893b4ce5807592ba878039b215ef87c68 127.0.0.1:31806@41806 master - 0 1795393009064 0 connected
946aa5c3a11e3cf3704e1c62c2f4a7ca6b011bfe 127.0.0.1:31804@41804 slave 0e926c369b93c91f631c289a06a17145aa0377a0 0 1795393008561 1 connected
9fb8254b82f960e2356fab55f7f7909e154de780 127.0.0.1:31803@41803,node-3.redis.example.internal slave,nofailover 9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 0 1795393008962 3 connected
9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 127.0.0.1:31802@41802 master - 0 1795393009163 3 connected 10923-16383
8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 127.0.0.1:31801@41801 master - 0 1795393008762 7 connected 100 5461-10922
0e926c369b93c91f631c289a06a17145aa0377a0 127.0.0.1:31800@41800,node-0.redis.example.internal myself,master - 0 0 1 connected 0-99 101-5460
";

/// Redis 8.2: the replica has taken over; the failed master has no slots any more.
pub const REDIS_8_2_FAILED_OVER: &str = "\
51f2d8030a8dcc5f5d8fce817bf4638c80414d29 127.0.0.1:31805@41805 master - 0 1795393013795 8 connected 100 5461-10922
14886c6893b4ce5807592ba878039b215ef87c68 127.0.0.1:31806@41806 master - 0 1795393013997 0 connected
946aa5c3a11e3cf3704e1c62c2f4a7ca6b011bfe 127.0.0.1:31804@41804 slave 0e926c369b93c91f631c289a06a17145aa0377a0 0 1795393014000 1 connected
9fb8254b82f960e2356fab55f7f7909e154de780 127.0.0.1:31803@41803,node-3.redis.example.internal slave,nofailover 9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 0 1795393014198 3 connected
9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 127.0.0.1:31802@41802 master - 0 1795393014400 3 connected 10923-16383
8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 127.0.0.1:31801@41801 master,fail - 1795393009767 1795393009000 7 disconnected
0e926c369b93c91f631c289a06a17145aa0377a0 127.0.0.1:31800@41800,node-0.redis.example.internal myself,master - 0 0 1 connected 0-99 101-5460
";

/// Valkey 9.1: a slot on its way to the node that was asked.
pub const VALKEY_9_1_MIGRATING: &str = "\
ff76828f1a7d0fd4235de76d80c7ca0bd3a6bdf0 127.0.0.1:31900@41900,node-0.redis.example.internal master - 0 1795393019012 1 connected 0-5460
5c52f0e9da7edc5dac74d880eeec3bd5cce00a8c 127.0.0.1:31904@41904 slave 2b55aae10f327e7375911ad0808543f6bb7c8f57 0 1795393019414 3 connected
33488f3c2f7f5a13e57f6bfb6aaa160814088e21 127.0.0.1:31903@41903,node-3.redis.example.internal slave ab69aa5306dd4f04bf851e5ef6a532bd3d9728fb 0 1795393019000 2 connected
ec30d4c743db2d721032256362831ad6e09cd9c8 127.0.0.1:31905@41905 slave ff76828f1a7d0fd4235de76d80c7ca0bd3a6bdf0 0 1795393019414 1 connected
ab69aa5306dd4f04bf851e5ef6a532bd3d9728fb 127.0.0.1:31901@41901 myself,master - 0 0 2 connected 5461-10922 [100-<-ff76828f1a7d0fd4235de76d80c7ca0bd3a6bdf0]
2b55aae10f327e7375911ad0808543f6bb7c8f57 127.0.0.1:31902@41902 master - 0 1795393019414 3 connected 10923-16383
";

/// Valkey 9.1: a master without a successor and a replica have failed.
pub const VALKEY_9_1_FAILED: &str = "\
ab69aa5306dd4f04bf851e5ef6a532bd3d9728fb 127.0.0.1:31901@41901 master,fail - 1795393021453 1795393020849 7 disconnected 100 5461-10922
2b55aae10f327e7375911ad0808543f6bb7c8f57 127.0.0.1:31902@41902 master - 0 1795393029307 3 connected 10923-16383
5c52f0e9da7edc5dac74d880eeec3bd5cce00a8c 127.0.0.1:31904@41904 slave 2b55aae10f327e7375911ad0808543f6bb7c8f57 0 1795393029000 3 connected
33488f3c2f7f5a13e57f6bfb6aaa160814088e21 127.0.0.1:31903@41903,node-3.redis.example.internal slave,fail,nofailover ab69aa5306dd4f04bf851e5ef6a532bd3d9728fb 1795393026184 1795393026084 7 disconnected
ebba4d8d5074f5261a58e1c05dbed313e6b4afa0 127.0.0.1:31906@41906 master - 0 1795393028904 0 connected
ec30d4c743db2d721032256362831ad6e09cd9c8 127.0.0.1:31905@41905 slave ff76828f1a7d0fd4235de76d80c7ca0bd3a6bdf0 0 1795393029508 1 connected
ff76828f1a7d0fd4235de76d80c7ca0bd3a6bdf0 127.0.0.1:31900@41900,node-0.redis.example.internal myself,master - 0 0 1 connected 0-99 101-5460
";

/// Redis 7.0 on IPv6, with a long host name.
pub const REDIS_7_0_IPV6: &str = "\
d41047e8f2e14a66d5256e58994babbfe97313c4 ::1:32211@42211,a-rather-long-host-name-for-node-1.redis.example.internal myself,master - 0 0 2 connected 5462-10923
";

/// Redis 8.2, as it keeps it in its own file: the most fields that any version has written.
pub const REDIS_8_2_FILE: &str = "\
51f2d8030a8dcc5f5d8fce817bf4638c80414d29 127.0.0.1:31805@41805,,tls-port=0,shard-id=380378bfff3049a419eae99673d62c09a9db340e master - 0 1795393016011 8 connected 100 5461-10922
14886c6893b4ce5807592ba878039b215ef87c68 127.0.0.1:31806@41806,,tls-port=0,shard-id=1010e6c9081a84b03536d1c02ffcdc6e45d9adab master - 0 1795393016213 0 connected
946aa5c3a11e3cf3704e1c62c2f4a7ca6b011bfe 127.0.0.1:31804@41804,,tls-port=0,shard-id=b879412a22b18160805be1a0bd93c4e7f6f7194f slave 0e926c369b93c91f631c289a06a17145aa0377a0 0 1795393016615 1 connected
9fb8254b82f960e2356fab55f7f7909e154de780 127.0.0.1:31803@41803,node-3.redis.example.internal,tls-port=0,shard-id=2345a03868dcbb3f6bde20c86a2488b969319c7f slave,fail,nofailover 9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 1795393015003 1795393014198 3 disconnected
9ced0bb5aa59e3ebfff3d1efaea4d0dd387ce265 127.0.0.1:31802@41802,,tls-port=0,shard-id=2345a03868dcbb3f6bde20c86a2488b969319c7f master - 0 1795393016011 3 connected 10923-16383
8ee7dc0e2eddfbbe61b71b36d29a796c50e41b4b 127.0.0.1:31801@41801,,tls-port=0,shard-id=380378bfff3049a419eae99673d62c09a9db340e master,fail - 1795393009767 1795393009000 7 disconnected
0e926c369b93c91f631c289a06a17145aa0377a0 127.0.0.1:31800@41800,node-0.redis.example.internal,tls-port=0,shard-id=b879412a22b18160805be1a0bd93c4e7f6f7194f myself,master - 0 0 1 connected 0-99 101-5460
";

/// All answers to CLUSTER NODES above that are about a whole cluster.
pub const WHOLE: &[(&str, &str)] = &[
    ("REDIS_6_2_STABLE", REDIS_6_2_STABLE),
    ("REDIS_6_2_MIGRATING", REDIS_6_2_MIGRATING),
    ("REDIS_6_2_HANDSHAKE", REDIS_6_2_HANDSHAKE),
    ("REDIS_6_2_MAY_FAIL", REDIS_6_2_MAY_FAIL),
    ("REDIS_6_2_FAILED_OVER", REDIS_6_2_FAILED_OVER),
    ("REDIS_7_0_MIGRATING", REDIS_7_0_MIGRATING),
    ("REDIS_7_0_REPLICA_ASKED", REDIS_7_0_REPLICA_ASKED),
    ("REDIS_7_0_FAILED", REDIS_7_0_FAILED),
    ("REDIS_8_2_MIGRATING", REDIS_8_2_MIGRATING),
    ("REDIS_8_2_STABLE", REDIS_8_2_STABLE),
    ("REDIS_8_2_FAILED_OVER", REDIS_8_2_FAILED_OVER),
    ("VALKEY_9_1_MIGRATING", VALKEY_9_1_MIGRATING),
    ("VALKEY_9_1_FAILED", VALKEY_9_1_FAILED),
    ("REDIS_8_2_FILE", REDIS_8_2_FILE),
];
