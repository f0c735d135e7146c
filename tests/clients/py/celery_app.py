"""Celery with the proxy as its broker and its store of results.

Its broker keeps keys without a hash tag together in transactions, so it needs a pool with one place for all keys; its
results may be anywhere.
"""

import os

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

SINGLE, CLUSTER = os.environ["SINGLE"], os.environ["CLUSTER"]

app = Celery("test", broker=f"redis://127.0.0.1:{SINGLE}/1", backend=f"redis://127.0.0.1:{SINGLE}/2")
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


with start_worker(app, perform_ping_check=False, pool="threads", concurrency=4):
    assert add.delay(1, 2).get(timeout=60) == 3
    assert chain(add.s(1, 2), add.s(10))().get(timeout=60) == 13
    assert sorted(group(add.s(i, i) for i in range(20))().get(timeout=60)) == [2 * i for i in range(20)]
    assert chord((add.s(i, 1) for i in range(10)), total.s())().get(timeout=60) == 55
    assert third_time.delay().get(timeout=60) == 2
    assert app.control.inspect(timeout=5).ping(), "the worker hears what is broadcast"
print("done")
