"""A caller's trace context is found again: in the call, in the ledger, in the log.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from support.contract import pb
from support.session import Session
from support.waiting import wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01"


def authorize(client, company, call, metadata, **fields):
    return client.gate.Authorize(pb.AuthorizeRequest(
        company_id=company, call_id=call, resource_type="voice_outbound",
        destination="+14155550100", start=True, **fields), timeout=10, metadata=metadata)


def logged_meta(stack, company):
    return stack.value("select meta->'meta' from usage_logs where company_id = %s", [company])


def test_a_trace_ends_in_the_ledger(shared, shared_stack):
    company = shared.funded(1_000_000)
    authorize(shared, company, "c1", [("traceparent", TRACE)], meta={"city": "Bern"})
    assert shared.get_call(company, "c1").meta == {"city": "Bern", "traceparent": TRACE}
    # A repetition from elsewhere, and the settlement, leave the first one alone.
    assert authorize(shared, company, "c1", [("traceparent", OTHER)]).replayed
    shared.gate.Settle(pb.SettleRequest(
        company_id=company, call_id="c1", duration_ms=1000,
        durability=pb.DURABILITY_COMMITTED), timeout=10, metadata=[("traceparent", OTHER)])
    assert logged_meta(shared_stack, company)["traceparent"] == TRACE


@pytest.mark.parametrize("metadata", [
    [("traceparent", TRACE.upper())], [("traceparent", "01" + TRACE[2:])],
    [("traceparent", TRACE), ("traceparent", OTHER)], [("tracestate", "a=b")],
    [("traceparent", "00-" + "0" * 32 + "-00f067aa0ba902b7-01")],
])
def test_what_is_no_trace_is_ignored(shared, metadata):
    company = shared.funded(1_000_000)
    answer = authorize(shared, company, "c1", metadata)
    assert answer.decision == pb.DECISION_ALLOWED
    assert shared.get_call(company, "c1").meta == {}


def test_the_callers_own_key_is_not_overridden(shared):
    company = shared.funded(1_000_000)
    authorize(shared, company, "c1", [("traceparent", TRACE)], meta={"traceparent": "mine"})
    assert shared.get_call(company, "c1").meta == {"traceparent": "mine"}


def test_requests_of_a_session_have_no_trace_of_one_before_them(shared):
    company = shared.funded(10_000_000)
    with Session(shared) as session:
        for n in range(3):
            authorize(shared, company, f"alone-{n}", [("traceparent", TRACE)])
            session.answer("authorize", company, f"within-{n}", meta={"city": "Bern"})
            assert shared.get_call(company, f"within-{n}").meta == {"city": "Bern"}


def test_a_trace_is_in_the_line_about_its_request(make_stack):
    stack = make_stack(log_level="debug", drain_ms=500)  # at the end the store is away
    company = stack.client.funded(1_000_000)
    authorize(stack.client, company, "c1", [("traceparent", TRACE)])

    def lines():
        return [line for line in stack.sidecar.process.text().splitlines() if TRACE in line]
    [line] = wait_until(lines)
    assert 'msg="request answered" method=callgate.v1.Gate/Authorize status=ok' in line
    stack.redis.kill()

    def failed():
        with pytest.raises(grpc.RpcError):
            authorize(stack.client, company, "c2", [("traceparent", OTHER)])
        return [line for line in stack.sidecar.process.text().splitlines()
                if OTHER in line and "request failed" in line]
    assert wait_until(failed, 20)
