"""What the server counts agrees with what was asked of it.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from conftest import authorize, connect, raw, request, wait_until, watch
from test_rpc import failure_of
from test_session import Session

AUTHORIZE = "callgate.v1.Gate/Authorize"
CHECK = "grpc.health.v1.Health/Check"


def requests_of(values, method, code="OK"):
    return values.get(f'callgate_requests_total{{method="{method}",code="{code}"}}', 0)


def test_requests_are_counted_by_method_and_status(pb, server, channel):
    for i in range(5):
        authorize(channel, pb)(request(pb, call_id=f"c{i}"), timeout=5)
    for _ in range(3):
        failure_of(lambda: authorize(channel, pb)(request(pb, call_id="x" * 129), timeout=5))
    failure_of(lambda: authorize(channel, pb)(request(pb, call_id="status-7"), timeout=5))
    raw(channel, f"/{CHECK}")(b"", timeout=5)
    failure_of(lambda: raw(channel, "/callgate.v1.Gate/Nope")(b"", timeout=5))
    values = server.metrics()
    assert requests_of(values, AUTHORIZE) == 5
    assert requests_of(values, AUTHORIZE, "INVALID_ARGUMENT") == 3
    assert requests_of(values, AUTHORIZE, "UNAVAILABLE") == 1
    assert requests_of(values, CHECK) == 1
    assert requests_of(values, "other", "UNIMPLEMENTED") == 1
    assert values[f'callgate_request_duration_seconds_count{{method="{AUTHORIZE}"}}'] == 9
    assert values[f'callgate_request_duration_seconds_count{{method="{CHECK}"}}'] == 1


def test_how_long_requests_take_is_in_the_buckets(pb, server, channel):
    authorize(channel, pb)(request(pb, call_id="slow-200-1"), timeout=5)
    values = server.metrics()
    bucket = f'callgate_request_duration_seconds_bucket{{method="{AUTHORIZE}",le="%s"}}'
    assert values[bucket % "0.05"] == 0
    assert values[bucket % "+Inf"] == 1
    assert 0.15 <= values[f'callgate_request_duration_seconds_sum{{method="{AUTHORIZE}"}}'] < 5


def test_a_watch_is_counted_when_it_ends(pb, server, channel):
    method = "callgate.v1.Wallets/Watch"
    stream = watch(channel, pb, timeout=20)
    next(stream)
    assert requests_of(server.metrics(), method, "CANCELLED") == 0
    stream.cancel()
    wait_until(lambda: requests_of(server.metrics(), method, "CANCELLED") == 1)
    stream = watch(channel, pb, timeout=20)
    next(stream)
    server.say("end 1")  # too slow
    assert failure_of(lambda: list(stream)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_until(lambda: requests_of(server.metrics(), method, "RESOURCE_EXHAUSTED") == 1)


def test_requests_of_a_session_are_counted_as_their_methods_and_the_session_when_it_ends(
        pb, server, channel):
    method = "callgate.v1.Gate/Session"
    session = Session(channel, pb)
    for tag in range(3):
        session.authorize(tag, f"c{tag}")
    session.authorize(3, "x" * 129)
    session.authorize(4, "status-7")
    session.send(5, cancel=pb.CancelRequest(company_id="nobody", call_id="c"))
    session.send(6)  # no operation
    session.answers(7)
    values = server.metrics()
    assert values["callgate_sessions"] == 1
    assert values["callgate_session_requests_total"] == 7
    assert requests_of(values, AUTHORIZE) == 3
    assert requests_of(values, AUTHORIZE, "INVALID_ARGUMENT") == 1
    assert requests_of(values, AUTHORIZE, "UNAVAILABLE") == 1
    assert requests_of(values, "callgate.v1.Gate/Cancel", "INVALID_ARGUMENT") == 1
    assert values[f'callgate_request_duration_seconds_count{{method="{AUTHORIZE}"}}'] == 5
    assert requests_of(values, method) == 0
    assert session.rest() == []
    wait_until(lambda: requests_of(server.metrics(), method) == 1)
    assert server.metrics()["callgate_sessions"] == 0
    session = Session(channel, pb)
    session.authorize(1, "slow-1000")
    wait_until(lambda: server.requests()[0] == 5)
    session.call.cancel()
    session.finish()
    wait_until(lambda: requests_of(server.metrics(), method, "CANCELLED") == 1)
    wait_until(lambda: requests_of(server.metrics(), AUTHORIZE, "CANCELLED") == 1)


def test_sessions_beyond_their_number_are_counted(pb, start_server):
    server = start_server(sessions_max=1)
    with connect(server) as channel:
        held = Session(channel, pb)
        held.authorize(1, "c1")
        held.answers(1)
        refused = Session(channel, pb)
        assert failure_of(lambda: list(refused.call)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        refused.finish()
        assert server.metrics()['callgate_limits_hit_total{limit="sessions"}'] == 1
        assert held.rest() == []


def test_the_limit_of_requests_in_flight_is_counted(pb, start_server):
    server = start_server(calls_max=16)
    with connect(server) as channel:
        send = authorize(channel, pb)
        futures = [send.future(request(pb, call_id=f"slow-300-{i}"), timeout=20)
                   for i in range(40)]
        codes = [future.code() for future in futures]
    refused = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert refused > 0
    assert server.metrics()['callgate_limits_hit_total{limit="in_flight"}'] == refused


def test_connections_are_counted(start_server):
    server = start_server()
    channels = [connect(server) for _ in range(7)]
    try:
        for channel in channels:
            raw(channel, f"/{CHECK}")(b"", timeout=5)
        assert server.metrics()["callgate_connections_accepted_total"] == 7
        if server.metrics()["callgate_connections"] == 0:
            pytest.skip("a thread waits for gRPC: it does not say how many there are")
        wait_until(lambda: server.metrics()["callgate_connections"] == 7)
    finally:
        for channel in channels:
            channel.close()
    wait_until(lambda: server.metrics()["callgate_connections"] == 0)
