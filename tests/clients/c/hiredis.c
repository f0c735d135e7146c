/* hiredis against the proxy: pipelines, transactions, scripts, subscriptions and what blocks, and its asynchronous half. */
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const redisReply *reply) {
    fprintf(stderr, "%s: type %d, number %lld, %s\n", what, reply ? reply->type : -1,
            reply ? reply->integer : 0, reply && reply->str ? reply->str : "no text");
    exit(1);
}

static redisContext *join(int port) {
    redisContext *c = redisConnectWithTimeout("127.0.0.1", port, (struct timeval){10, 0});
    if (c == NULL || c->err) fail("connect", NULL);
    redisSetTimeout(c, (struct timeval){30, 0});
    return c;
}

/* Is the reply this text, whatever its type? */
static void is(const char *what, redisReply *reply, const char *want) {
    if (reply == NULL || reply->str == NULL || strcmp(reply->str, want) != 0) fail(what, reply);
    freeReplyObject(reply);
}

static void is_number(const char *what, redisReply *reply, long long want) {
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != want) fail(what, reply);
    freeReplyObject(reply);
}

static redisReply *next(redisContext *c) {
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK) fail("reply", NULL);
    return reply;
}

static void synchronous(int port) {
    redisContext *c = join(port), *other = join(port);
    is("ping", redisCommand(c, "PING"), "PONG");
    is("set", redisCommand(c, "SET c:a %b", "\x00\xff", (size_t)2), "OK");
    redisReply *reply = redisCommand(c, "GET c:a");
    if (reply->len != 2 || memcmp(reply->str, "\x00\xff", 2) != 0) fail("get", reply);
    freeReplyObject(reply);

    is_number("del", redisCommand(c, "DEL c:none"), 0);
    freeReplyObject(redisCommand(c, "DEL c:n"));
    for (int i = 0; i < 10000; i++) redisAppendCommand(c, "INCR c:n");
    for (int i = 1; i <= 10000; i++) is_number("pipeline", next(c), i);

    is("multi", redisCommand(c, "MULTI"), "OK");
    is("queue", redisCommand(c, "INCR c:n"), "QUEUED");
    reply = redisCommand(c, "EXEC");
    if (reply->elements != 1 || reply->element[0]->integer != 10001) fail("exec", reply);
    freeReplyObject(reply);
    is("script", redisCommand(c, "EVAL %s 1 c:n x", "return ARGV[1]"), "x");

    freeReplyObject(redisCommand(c, "DEL c:l"));
    redisAppendCommand(c, "BLPOP c:l 0");
    int done = 0;
    while (!done) redisBufferWrite(c, &done);
    is_number("push", redisCommand(other, "RPUSH c:l x"), 1);
    reply = next(c);
    if (reply->elements != 2 || strcmp(reply->element[1]->str, "x") != 0) fail("blpop", reply);
    freeReplyObject(reply);

    freeReplyObject(redisCommand(c, "SUBSCRIBE c:channel"));
    freeReplyObject(redisCommand(other, "PUBLISH c:channel hello"));
    reply = next(c);
    if (reply->elements != 3 || strcmp(reply->element[2]->str, "hello") != 0) fail("message", reply);
    freeReplyObject(reply);
    reply = redisCommand(c, "UNSUBSCRIBE");
    if (reply->elements != 3 || reply->element[2]->integer != 0) fail("unsubscribe", reply);
    freeReplyObject(reply);
    is("wrong type", redisCommand(c, "LPUSH c:a x"),
       "WRONGTYPE Operation against a key holding the wrong kind of value");
    redisFree(c);
    redisFree(other);
}

/* What the asynchronous half has been told. */
static struct {
    int replies, messages, gone;
    struct pollfd wish;
} seen;

static void want_read(void *unused) { (void)unused, seen.wish.events |= POLLIN; }
static void want_write(void *unused) { (void)unused, seen.wish.events |= POLLOUT; }
static void no_read(void *unused) { (void)unused, seen.wish.events &= ~POLLIN; }
static void no_write(void *unused) { (void)unused, seen.wish.events &= ~POLLOUT; }

static void count(redisAsyncContext *c, void *reply, void *want) {
    (void)c;
    if (reply == NULL || ((redisReply *)reply)->integer != (long)want) fail("asynchronous", reply);
    seen.replies++;
}

static void hear(redisAsyncContext *c, void *r, void *channel) {
    redisReply *reply = r;
    /* Confirmations are told as well. */
    if (reply == NULL || strcmp(reply->element[0]->str, "message") != 0) return;
    if (strcmp(reply->element[1]->str, channel) != 0) fail("channel", reply);
    if (++seen.messages == 2) redisAsyncDisconnect(c);
}

static void gone(const redisAsyncContext *c, int status) {
    if (status != REDIS_OK) fprintf(stderr, "%s\n", c->errstr), exit(1);
    seen.gone = 1;
}

static redisAsyncContext *attach(int port) {
    redisAsyncContext *c = redisAsyncConnect("127.0.0.1", port);
    if (c == NULL || c->err) fail("connect", NULL);
    memset(&seen, 0, sizeof seen);
    c->ev.addRead = want_read, c->ev.addWrite = want_write;
    c->ev.delRead = no_read, c->ev.delWrite = no_write;
    seen.wish = (struct pollfd){.fd = c->c.fd, .events = POLLIN | POLLOUT};
    redisAsyncSetDisconnectCallback(c, gone);
    return c;
}

static void turn(redisAsyncContext *c) {
    if (poll(&seen.wish, 1, 30000) <= 0) fail("nothing comes", NULL);
    short now = seen.wish.revents;
    if (now & POLLOUT) redisAsyncHandleWrite(c);
    if (!seen.gone && now & (POLLIN | POLLHUP)) redisAsyncHandleRead(c);
}

static void asynchronous(int port) {
    redisAsyncContext *c = attach(port);
    redisContext *other = join(port);
    freeReplyObject(redisCommand(other, "DEL c:async"));
    for (long i = 1; i <= 1000; i++) redisAsyncCommand(c, count, (void *)i, "INCR c:async");
    while (seen.replies < 1000) turn(c);
    redisAsyncDisconnect(c);
    while (!seen.gone) turn(c);

    c = attach(port);
    redisAsyncCommand(c, hear, "c:x", "SUBSCRIBE c:x");
    redisAsyncCommand(c, hear, "c:y", "SUBSCRIBE c:y");
    while (!seen.gone) {
        struct pollfd now = seen.wish;
        /* What is published before the subscription is confirmed is lost; it is said again then. */
        freeReplyObject(redisCommand(other, "PUBLISH c:x 1"));
        freeReplyObject(redisCommand(other, "PUBLISH c:y 2"));
        if (poll(&now, 1, 10) > 0) turn(c);
    }
    redisFree(other);
}

int main(void) {
    const char *pools[] = {"SINGLE", "TWO_GROUPS", "CLUSTER"};
    for (int i = 0; i < 3; i++) {
        int port = atoi(getenv(pools[i]));
        synchronous(port);
        asynchronous(port);
    }
    puts("done");
    return 0;
}
