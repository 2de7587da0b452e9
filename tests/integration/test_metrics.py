"""Metrics agree with what was done, and are told to whoever asks, in whatever manner.

SPDX-License-Identifier: Apache-2.0
"""

import json
import re
import signal
import socket
import time

import grpc
import pytest

from support.contract import pb
from support.invariants import check_invariants
from support.metrics import Scrape, ask, connect, get
from support.processes import ROOT
from support.waiting import wait_until

CALL = 1_500_000  # micros: what one starter call may need to be let in, generously


@pytest.fixture
def told(make_stack, tmp_path):
    stack = make_stack(metrics_listen=f"unix:{tmp_path}/metrics.sock")
    stack.metrics = f"unix:{tmp_path}/metrics.sock"
    return stack


def decided(scrape, decision, asked="authorize"):
    return scrape[f'callgate_decisions_total{{decision="{decision}",asked="{asked}"}}']


def requests(scrape, method, code="OK"):
    return scrape.get(f'callgate_requests_total{{method="callgate.v1.{method}",code="{code}"}}')


def test_what_was_done_is_what_is_told(told):
    client = told.client
    rich, poor = client.funded(100_000_000), client.funded(0)
    for i in range(7):
        assert client.authorize(rich, f"call-{i}", start=True).decision == pb.DECISION_ALLOWED
    for i in range(2):
        assert client.authorize(rich, f"call-{i}", start=True).replayed
    for i in range(5):
        denied = client.authorize(poor, f"call-{i}").decision
        assert denied == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    client.authorize(poor, "", validate_only=True)
    for i in range(4):
        client.settle(rich, f"call-{i}", 60_000, durability=pb.DURABILITY_COMMITTED)
    client.fails("settle", rich, "x" * 200, 1)
    wait_until(lambda: Scrape(told.metrics)["callgate_requests_in_flight"] == 0)
    scrape = Scrape(told.metrics)
    assert decided(scrape, "allowed") == 7
    assert decided(scrape, "allowed", "replay") == 2
    assert decided(scrape, "denied_insufficient_funds") == 5
    assert decided(scrape, "denied_insufficient_funds", "validate_only") == 1
    assert scrape.sum("callgate_decisions_total") == 15
    assert requests(scrape, "Gate/Authorize") == 15
    assert requests(scrape, "Gate/Settle") == 4
    assert requests(scrape, "Gate/Settle", "INVALID_ARGUMENT") == 1
    name = "callgate_request_duration_seconds"
    assert scrape[name + '_count{method="callgate.v1.Gate/Authorize"}'] == 15
    # Four settles and one credit are in the ledger, brought there by this sidecar alone.
    rows = told.value("select count(*) from wallet_transactions")
    assert rows == 5
    assert scrape["callgate_flush_rows_total"] == rows
    assert 1 <= scrape["callgate_flush_batches_total"] <= rows
    assert scrape["callgate_flush_duration_seconds_count"] == scrape["callgate_flush_batches_total"]
    assert scrape["callgate_recoveries_total"] == 16  # a new store: each was taken into use
    assert scrape["callgate_partitions_serving"] == scrape["callgate_partitions"] == 16
    assert scrape["callgate_serving"] == 1
    assert scrape['callgate_store_connected{connection="operations"}'] == 1
    assert scrape["callgate_ledger_connected"] == 1


def test_the_outbox_grows_while_postgres_is_away_and_drains(told):
    client = told.client
    company = client.funded(100_000_000)
    told.wait_until_flushed(company)
    wait_until(lambda: Scrape(told.metrics).sum("callgate_outbox_entries") == 0)
    with told.postgres_away():
        for i in range(30):
            client.authorize(company, f"call-{i}", start=True)
            client.settle(company, f"call-{i}", 1000)
        scrape = wait_until(lambda: (s := Scrape(told.metrics)).sum("callgate_outbox_entries") == 30
                            and s)
        waiting = [v for k, v in scrape.values.items() if k.startswith("callgate_outbox_entries{")]
        assert sorted(waiting)[-1] == 30 and sum(waiting) == 30  # one company, one partition
        first = max(v for k, v in scrape.values.items() if "outbox_age" in k)
        older = wait_until(lambda: max(
            v for k, v in Scrape(told.metrics).values.items() if "outbox_age" in k) > first + 0.5)
        assert older
    wait_until(lambda: Scrape(told.metrics).sum("callgate_outbox_entries") == 0, 30)
    assert Scrape(told.metrics).sum("callgate_outbox_age_seconds") == 0
    check_invariants(told)


def test_what_is_held_in_all_and_for_how_long(told):
    client = told.client
    begin = time.monotonic()
    companies = [client.funded(100_000_000) for _ in range(5)]
    client.authorize(companies[0], "the-oldest")
    for company in companies[1:]:
        client.authorize(company, "ringing")
        client.authorize(company, "talking", start=True)

    def seen():
        scrape = Scrape(told.metrics)
        return scrape if scrape.get("callgate_live_calls") == 9 else None
    scrape = wait_until(seen)
    held = sum(client.balance(company).held_micros for company in companies)
    assert held > 0
    assert scrape['callgate_held_micros{currency="usd"}'] == held
    assert 0 < scrape["callgate_oldest_hold_seconds"] <= time.monotonic() - begin + 0.5
    assert scrape["callgate_holds_left_out"] == 0
    assert scrape["callgate_holds_age_seconds"] < 5
    first = scrape["callgate_oldest_hold_seconds"]
    wait_until(lambda: Scrape(told.metrics)["callgate_oldest_hold_seconds"] > first + 1)
    client.cancel(companies[0], "the-oldest")
    for company in companies[1:]:
        client.cancel(company, "ringing")
        client.settle(company, "talking", 1000)
    wait_until(lambda: Scrape(told.metrics)["callgate_live_calls"] == 0)
    assert Scrape(told.metrics)["callgate_oldest_hold_seconds"] == 0
    assert Scrape(told.metrics).sum("callgate_held_micros") == 0


def test_a_cut_off_is_told_with_its_lateness(told):
    client = told.client
    stream = client.wallets.Watch(pb.WatchRequest(types=[pb.EVENT_TYPE_CUT_OFF]), timeout=60)
    assert not next(stream).HasField("event")
    wait_until(lambda: Scrape(told.metrics)["callgate_watchers"] == 1)
    company = client.funded(20_000)
    assert client.authorize(company, "c1", start=True, reserve_ms=1).decision == pb.DECISION_ALLOWED
    event = next(message.event for message in stream if message.HasField("event"))
    assert event.call_id == "c1"
    name = "callgate_cut_off_lateness_seconds"
    wait_until(lambda: Scrape(told.metrics)[f"{name}_count"] == 1)
    assert Scrape(told.metrics)[f"{name}_sum"] < 5
    stream.cancel()
    wait_until(lambda: Scrape(told.metrics)["callgate_watchers"] == 0)


def test_a_store_that_hangs_is_told_and_what_is_decided_without_it(make_stack, tmp_path):
    stack = make_stack(metrics_listen=f"unix:{tmp_path}/metrics.sock")
    metrics = f"unix:{tmp_path}/metrics.sock"
    stack.add_plan("open", outage_policy="allow", outage_longest_ms=30_000, longest_call_ms=20_000,
                   default_reserve_ms=10_000, outage_calls_max=1)
    company = stack.client.funded(1_000_000_000, plan_id="open")
    stack.client.authorize(company, "", validate_only=True)
    is_open = 'callgate_store_breaker_open{connection="operations"}'
    assert Scrape(metrics)[is_open] == 0
    stack.redis.process.signal(signal.SIGSTOP)
    try:
        assert stack.client.authorize(company, "c1").degraded
        wait_until(lambda: Scrape(metrics)[is_open] == 1)
        assert stack.client.fails("authorize", company, "c2").code == grpc.StatusCode.UNAVAILABLE
        limit = 'callgate_limits_hit_total{limit="outage_calls"}'
        wait_until(lambda: Scrape(metrics)[limit] == 1)  # the text is kept for 50 ms
        scrape = Scrape(metrics)
        assert scrape['callgate_store_breaker_opened_total{connection="operations"}'] == 1
        assert scrape['callgate_store_breaker_refused_total{connection="operations"}'] >= 1
        assert scrape["callgate_degraded_calls"] == 1
        assert decided(scrape, "allowed", "degraded") == 1
        assert decided(scrape, "allowed") == 0
    finally:
        stack.redis.process.signal(signal.SIGCONT)
    wait_until(lambda: Scrape(metrics)[is_open] == 0)


def test_the_process_is_told(told):
    scrape = Scrape(told.metrics)
    pid = told.sidecar.process.pid
    assert 5e6 < scrape["process_resident_memory_bytes"] < 2e9
    assert 10 < scrape["process_open_fds"] < scrape["process_max_fds"]
    assert scrape["process_cpu_seconds_total"] > 0
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        started = int(stat.read().rpartition(")")[2].split()[19]) / 100
    with open("/proc/uptime", encoding="utf-8") as uptime:
        age = float(uptime.read().split()[0]) - started
    assert abs(scrape["process_start_time_seconds"] - (time.time() - age)) < 2
    assert scrape['callgate_build_info{version="0.1.0"}'] == 1


def table_of_docs():
    """docs/metrics.md: name -> (kind, labels)."""
    rows = {}
    for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            rows[cells[0].strip("`")] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])), cells[3])
    return rows


def test_the_documented_metrics_are_those_that_are_told(told):
    client = told.client
    client.authorize(client.funded(CALL), "c1")
    wait_until(lambda: Scrape(told.metrics)["callgate_live_calls"] == 1)
    scrape = Scrape(told.metrics)
    rows = table_of_docs()
    assert rows.keys() == scrape.kind.keys()
    labels = scrape.labels()
    for name, (kind, documented, help_text) in rows.items():
        assert kind == scrape.kind[name], name
        assert documented == labels[name], name
        assert help_text == scrape.help[name], name


def test_names_follow_the_conventions_and_no_label_says_who(told):
    client = told.client
    company = client.funded(CALL)
    client.authorize(company, "a-call-of-theirs", meta={"city": "Bern"})
    wait_until(lambda: Scrape(told.metrics)["callgate_live_calls"] == 1)
    scrape = Scrape(told.metrics)
    for name, kind in scrape.kind.items():
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name
        assert scrape.help[name].endswith("."), name
    for series in scrape.values:
        assert company not in series and "theirs" not in series and "Bern" not in series
    # What callers do makes no series, but for the statuses that they meet.
    before = {s for s in scrape.values if not s.startswith("callgate_requests_total")}
    for i in range(20):
        client.authorize(client.funded(CALL), f"call-{i}")
    after = {s for s in Scrape(told.metrics).values
             if not s.startswith("callgate_requests_total")}
    assert before == after


@pytest.mark.parametrize("file", ["docker/alerts.yaml", "docker/dashboard.json"])
def test_dashboard_and_alerts_use_metrics_that_exist(told, file):
    text = (ROOT / file).read_text(encoding="utf-8")
    scrape = Scrape(told.metrics)
    known = set()
    for name, kind in scrape.kind.items():
        known |= {name} if kind != "histogram" else {
            name + suffix for suffix in ("_bucket", "_sum", "_count")}
    if file.endswith(".json"):
        assert len(json.loads(text)["panels"]) > 10
    used = set(re.findall(r"\b(?:callgate|process)_[a-z_]+\b", text))
    assert used and used <= known, used - known


def test_health_and_readiness_over_http(told):
    status, _, text = get(told.metrics, "/healthz")
    assert (status, text.startswith("loop came by ")) == (200, True)
    status, _, text = get(told.metrics, "/readyz")
    assert status == 200 and text.startswith("ready\n"), text
    told.redis.kill()
    wait_until(lambda: get(told.metrics, "/readyz")[0] == 503)
    text = get(told.metrics, "/readyz")[2]
    assert "store: away" in text and "partitions served: 0" in text
    assert get(told.metrics, "/healthz")[0] == 200  # nothing that a restart would mend
    told.redis.start()
    wait_until(lambda: get(told.metrics, "/readyz")[0] == 200, 30)


@pytest.mark.parametrize("request_line, status", [
    (b"POST /metrics HTTP/1.1", 405), (b"DELETE /metrics HTTP/1.1", 405),
    (b"HEAD /metrics HTTP/1.1", 405), (b"GET /nothing HTTP/1.1", 404),
    (b"GET /../../etc/passwd HTTP/1.1", 404), (b"GET /metrics HTTP/1.0", 200),
])
def test_only_get_and_only_what_there_is(told, request_line, status):
    assert ask(told.metrics, request_line + b"\r\nHost: x\r\n\r\n")[0] == status


@pytest.mark.parametrize("request_bytes", [
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * 20000 + b"\r\n\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 100000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n" * 10000,
], ids=["header", "path", "headers", "body", "tls", "http2", "nothing"])
def test_what_is_too_large_or_no_request_is_refused(told, request_bytes):
    try:
        status = ask(told.metrics, request_bytes)[0]
    except (ConnectionResetError, BrokenPipeError):
        status = 0
    assert status == 0 or 400 <= status < 600
    assert get(told.metrics, "/healthz")[0] == 200


def test_slow_clients_hurt_neither_calls_nor_other_scrapes(told):
    """Many that send a byte now and then, and many that never read, all the while."""
    client = told.client
    company = client.funded(1_000_000_000)
    before = Scrape(told.metrics)["process_resident_memory_bytes"]
    slow = []
    for i in range(100):
        opened = socket.socket(socket.AF_UNIX)
        opened.setblocking(False)
        try:
            opened.connect(told.metrics[len("unix:"):])
            opened.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" if i % 2 else b"GET /met")
        except (BlockingIOError, BrokenPipeError):
            pass  # its backlog is full: as good as a client that waits
        slow.append(opened)
    took, end, scrapes = [], time.monotonic() + 6, 0
    try:
        while time.monotonic() < end:
            for opened in slow[::2]:
                try:
                    opened.send(b"r")
                except OSError:
                    pass
            begin = time.monotonic()
            client.authorize(company, f"call-{len(took)}")
            took.append(time.monotonic() - begin)
            if len(took) % 400 == 0:
                scrapes += get(told.metrics, "/healthz", timeout=25)[0] == 200
    finally:
        for opened in slow:
            opened.close()
    took.sort()
    assert took[len(took) * 99 // 100] < 0.25, "p99"  # a sanitizer's build on a busy machine
    wait_until(lambda: get(told.metrics, "/healthz")[0] == 200)
    after = Scrape(told.metrics)["process_resident_memory_bytes"]
    assert after - before < 100e6
    assert scrapes or len(took) < 400


def test_a_crowd_does_not_keep_others_out(told):
    """All places are taken by connections that say nothing: the oldest one is cut for the next."""
    guests = [connect(told.metrics) for _ in range(16)]
    try:
        begin = time.monotonic()
        assert get(told.metrics, "/healthz", timeout=20)[0] == 200
        assert time.monotonic() - begin < 4  # sooner than any of them is idle for too long
    finally:
        for guest in guests:
            guest.close()


def test_a_connection_has_its_time_and_no_more(told):
    """One byte at a time is no idleness; but ten seconds are all it gets."""
    with connect(told.metrics, timeout=0.2) as opened:
        begin = time.monotonic()

        def is_over():
            try:
                opened.send(b"G")
                return opened.recv(100) is not None
            except socket.timeout:
                return False
            except OSError:
                return True
        wait_until(is_over, 20)
        assert 1 < time.monotonic() - begin < 15


@pytest.mark.parametrize("listen, why", [
    ("0.0.0.0:9100", "must be a loopback address"), ("192.0.2.1:9100", "must be a loopback address"),
    ("somewhere", "must be unix:/path or a loopback host:port"),
    ("unix:/nowhere/at/all.sock", "No such file"), ("unix:/etc/hostname", "something else lies"),
])
def test_an_address_that_will_not_do_ends_the_start(make_stack, listen, why):
    stack = make_stack(sidecars=0)
    with pytest.raises(RuntimeError):
        stack.add_sidecar(metrics_listen=listen)
    assert why in stack.sidecars[0].process.text()
    stack.sidecars.clear()


def test_loopback_tcp_will_do(make_stack):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "127.0.0.1:%d" % free.getsockname()[1]
    make_stack(metrics_listen=address)
    assert Scrape(address)["callgate_serving"] == 1


def test_health_is_watched_through_the_death_of_the_store(told):
    watch = told.client.channel.unary_stream("/grpc.health.v1.Health/Watch")
    stream = watch(b"", timeout=90)
    assert next(stream) == b"\x08\x01"
    told.redis.kill()
    assert next(stream) == b"\x08\x02"
    told.redis.start()
    assert next(stream) == b"\x08\x01"
    assert told.sidecar.terminate() == 0
    with pytest.raises(grpc.RpcError) as ended:
        assert next(stream) == b"\x08\x02"
        next(stream)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_full_outbox_is_not_serving(make_stack, tmp_path):
    """One partition, Postgres away, entries up to the limit."""
    stack = make_stack(partitions=1, outbox_max=10, metrics_listen=f"unix:{tmp_path}/m.sock",
                       trim_margin_ms=0)
    client = stack.client
    company, other = client.funded(100_000_000), client.funded(100_000_000)
    stack.wait_until_flushed(company, other)
    for i in range(9):
        client.authorize(company, f"call-{i}", start=True)
        client.authorize(other, f"call-{i}", start=True)
    with stack.postgres_away():
        for i in range(9):
            client.settle(company, f"call-{i}", 1000)
        wait_until(lambda: Scrape(f"unix:{tmp_path}/m.sock").sum("callgate_outbox_entries") == 9)
        assert client.is_serving()
        for i in range(3):
            client.settle(other, f"call-{i}", 1000)
        wait_until(lambda: not client.is_serving())
        text = get(f"unix:{tmp_path}/m.sock", "/readyz")[2]
        assert "partitions served: 1" in text and "admitting calls: 0" in text
    wait_until(client.is_serving, 30)
