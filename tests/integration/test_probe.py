"""A sidecar asks itself, through its own socket, and ends where nobody answers there.

SPDX-License-Identifier: Apache-2.0
"""

import os
import resource
import signal
import socket
import time

import pytest

from support.contract import pb
from support.metrics import Scrape
from support.waiting import wait_until

QUICK = {"probe_interval_ms": 200, "probe_timeout_ms": 400}


@pytest.fixture
def probed(make_stack, tmp_path):
    stack = make_stack(metrics_listen=f"unix:{tmp_path}/metrics.sock", **QUICK)
    stack.metrics = f"unix:{tmp_path}/metrics.sock"
    return stack


def looks(stack):
    return Scrape(stack.metrics)["callgate_probe_looks_total"]


def wait_for_looks(stack, count):
    before = looks(stack)
    wait_until(lambda: looks(stack) >= before + count, 20)


def assert_well(stack):
    check = 'callgate_requests_total{method="grpc.health.v1.Health/Check",code="OK"}'
    before = Scrape(stack.metrics)[check]
    wait_for_looks(stack, 4)
    assert stack.sidecar.process.child.poll() is None
    assert Scrape(stack.metrics)["callgate_probe_failures_total"] == 0
    assert Scrape(stack.metrics)[check] >= before + 3  # nobody else asks: its questions are good


def assert_ended(stack, why):
    wait_until(lambda: stack.sidecar.process.child.poll() is not None, 20)
    assert stack.sidecar.process.child.poll() == 1
    log = stack.sidecar.process.text()
    assert "our own listener is dead" in log and why in log


def test_a_listener_that_lives_is_left_alone(probed):
    assert_well(probed)


def test_a_socket_that_was_taken_away_ends_the_sidecar(probed):
    assert_well(probed)
    probed.sidecar.socket.unlink()
    assert_ended(probed, "no such file")


def test_a_socket_at_which_nobody_accepts_ends_the_sidecar(probed):
    """As with a listener that has stopped accepting: connecting works, and then there is silence."""
    assert_well(probed)
    probed.sidecar.socket.unlink()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(probed.sidecar.socket))
        deaf.listen(8)
        assert_ended(probed, "no answer in time")


def test_requests_under_way_are_answered_when_it_ends(probed):
    """The listener is dead, connections are not: what was accepted is answered first."""
    company = probed.client.funded(1_000_000)
    probed.sidecar.socket.unlink()
    answered = 0
    while probed.sidecar.process.child.poll() is None:
        try:
            probed.client.authorize(company, f"call-{answered}", timeout=5)
            answered += 1
        except Exception as error:
            assert getattr(error, "code", lambda: None)().name == "UNAVAILABLE"
            break
    assert answered > 0
    assert_ended(probed, "no such file")


def test_a_process_that_was_stopped_does_not_blame_itself(probed):
    assert_well(probed)
    pid = probed.sidecar.process.pid
    for _ in range(4):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.6)  # what is tested is time that goes by; longer than a look may take
        os.kill(pid, signal.SIGCONT)
        wait_for_looks(probed, 1)
    assert_well(probed)


def test_being_out_of_descriptors_is_no_death(probed):
    assert_well(probed)
    pid = probed.sidecar.process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used - 5, before[1]))
    try:
        time.sleep(4)  # some twenty looks' time, of which none can be made
        assert probed.sidecar.process.child.poll() is None
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert_well(probed)


def test_draining_is_no_death(make_stack, tmp_path):
    """It accepts no more and waits for a request that the store keeps: many looks' time."""
    stack = make_stack(metrics_listen=f"unix:{tmp_path}/metrics.sock", store_timeout_ms=10000,
                       probe_interval_ms=100, probe_timeout_ms=100, drain_ms=1500)
    company = stack.client.funded(1_000_000)
    stack.redis.process.signal(signal.SIGSTOP)
    try:
        asked = stack.client.gate.Authorize.future(pb.AuthorizeRequest(
            company_id=company, call_id="c1", resource_type="voice_outbound",
            destination="+14155550100"), timeout=3)
        wait_until(lambda: Scrape(f"unix:{tmp_path}/metrics.sock")["callgate_requests_in_flight"])
        begin = time.monotonic()
        assert stack.sidecar.terminate() == 0
        assert time.monotonic() - begin > 1
        assert asked.exception() is not None
    finally:
        stack.redis.process.signal(signal.SIGCONT)
    log = stack.sidecar.process.text()
    assert "dead" not in log and "does not answer" not in log


def test_it_can_be_switched_off(make_stack, tmp_path):
    stack = make_stack(metrics_listen=f"unix:{tmp_path}/metrics.sock", probe_interval_ms=0)
    scrape = Scrape(f"unix:{tmp_path}/metrics.sock")
    assert "callgate_probe_looks_total" not in scrape.kind
    assert stack.sidecar.process.child.poll() is None
