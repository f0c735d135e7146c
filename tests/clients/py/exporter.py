"""redis_exporter against the proxy: what Prometheus is told must be there, true, and without an error."""

import os
import re
import socket
import subprocess
import time
import urllib.request

from redis import Redis


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(port):
    """All figures that the exporter tells about the proxy at this port."""
    web = free_port()
    address = f"127.0.0.1:{web}"
    words = ["prometheus-redis-exporter", "-redis.addr", f"redis://127.0.0.1:{port}"]
    words += ["-web.listen-address", address, "-export-client-list", "-check-keys", "exporter:*"]
    exporter = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
                    return page.read().decode()
            except OSError:
                assert exporter.poll() is None and time.monotonic() < deadline, "no exporter"
                time.sleep(0.01)
    finally:
        exporter.terminate()
        _, log = exporter.communicate()
        assert "level=error" not in log and "level=warn" not in log, log


def figure(page, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert found, f"{name} is missing"
    return float(found.group(1))


for pool in ["SINGLE", "TWO_GROUPS", "CLUSTER"]:
    port = int(os.environ[pool])
    client = Redis(port=port)
    for number in range(20):
        client.set(f"exporter:{number}", "x" * number, ex=1000)
    page = scrape(port)
    assert figure(page, "redis_up") == 1
    assert figure(page, 'redis_exporter_last_scrape_error{err=""}') == 0
    keys = figure(page, 'redis_db_keys{db="db0"}')
    assert keys == client.dbsize(), keys
    assert figure(page, 'redis_db_keys_expiring{db="db0"}') >= 20
    for name in [
        "redis_uptime_in_seconds",
        "redis_connected_clients",
        "redis_memory_used_bytes",
        "redis_commands_processed_total",
        "redis_keyspace_hits_total",
        "redis_slowlog_length",
        "redis_net_input_bytes_total",
        'redis_commands_total{cmd="set"}',
    ]:
        figure(page, name)
    for number in range(20):
        assert figure(page, f'redis_key_size{{db="db0",key="exporter:{number}"}}') == number
    said = re.search(r"^redis_instance_info\{(.*)\} 1$", page, re.MULTILINE).group(1)
    assert 'role="master"' in said and f'tcp_port="{port}"' in said, said
    assert 'name="redis_exporter"' in page, "CLIENT LIST does not show the exporter"
print("done")
