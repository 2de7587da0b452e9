"""The life of a call, step by step, with every answer's fields.

Prices are those of the seeded starter plan: +1 outbound costs 100 000 micros a minute, by the
second; the plan reserves 60 s and adds 5 s of guard.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from support.client import new_reference
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

RATE = 100_000
HEADROOM = RATE * 6_000 // 60_000 + 1
HELD = HEADROOM + RATE


def refused(failure, code, reason):
    assert (failure.code, failure.reason) == (getattr(grpc.StatusCode, code),
                                              getattr(pb, f"ERROR_REASON_{reason}"))


def test_a_call_from_authorize_to_its_ledger_row(shared, shared_stack):
    company, call = shared.funded(10_000_000), new_reference("call")
    allowed = shared.authorize(company, call, meta={"agent": "a1"})
    assert allowed.decision == pb.DECISION_ALLOWED and allowed.state == pb.CALL_STATE_AUTHORIZED
    assert allowed.price == pb.Price(rate_micros_per_minute=RATE, increment_ms=1000, currency="usd")
    assert (allowed.held_micros, allowed.required_micros) == (HELD, HELD)
    assert allowed.available_micros == 10_000_000 - HELD
    assert allowed.expires_at_ms == allowed.as_of_ms + 120_000
    assert allowed.max_duration_ms == 3_600_000  # the plan's longest call
    assert not allowed.replayed and not allowed.degraded

    started = shared.start(company, call)
    assert (started.decision, started.state) == (pb.DECISION_ALLOWED, pb.CALL_STATE_METERING)
    assert started.started_at_ms == started.as_of_ms
    assert started.available_micros == 10_000_000 - HEADROOM

    stopped = shared.stop(company, call)
    assert stopped.state == pb.CALL_STATE_STOPPED
    assert stopped.accrued_micros == -(-RATE * stopped.metered_ms // 60_000)

    settled = shared.settle(company, call, 61_001, meta={"recording": "r1"},
                            durability=pb.DURABILITY_COMMITTED)
    cost = RATE * 62_000 // 60_000 + 1  # rounded up
    assert (settled.state, settled.cost_micros, settled.billed_ms, settled.duration_ms) == (
        pb.CALL_STATE_SETTLED, cost, 62_000, 61_001)
    assert settled.balance_micros == settled.available_micros == 10_000_000 - cost
    assert settled.basis == pb.DURATION_BASIS_REPORTED and settled.price == allowed.price
    assert not settled.replayed and not settled.late and settled.corrected_micros == 0

    (row,) = shared_stack.sql(
        "select callgate.to_micros(amount, 'usd'), type, entry_id from wallet_transactions"
        " where company_id = %s and reference_id = %s", [company, call])
    assert row == (-cost, "usage", settled.ledger_id)
    (usage,) = shared_stack.sql(
        "select resource_type, callgate.to_micros(cost, 'usd'), meta from usage_logs"
        " where company_id = %s", [company])
    assert usage[:2] == ("voice_outbound", cost)
    assert usage[2]["call_id"] == call and usage[2]["billed_ms"] == 62_000
    assert usage[2]["meta"] == {"agent": "a1", "recording": "r1"}

    ended = shared.get_call(company, call)
    assert (ended.state, ended.cost_micros, ended.billed_ms, ended.ledger_id) == (
        pb.CALL_STATE_SETTLED, cost, 62_000, settled.ledger_id)
    assert dict(ended.meta) == {"agent": "a1", "recording": "r1"}
    assert shared.live_calls(company) == []


def test_authorize_again_is_a_replay_with_the_first_answer(shared):
    company = shared.funded(1_000_000)
    first = shared.authorize(company, "c")
    again = shared.authorize(company, "c", reserve_ms=5_000, meta={"other": "meta"})
    assert again.replayed and again.decision == pb.DECISION_ALLOWED
    assert (again.held_micros, again.expires_at_ms) == (first.held_micros, first.expires_at_ms)
    assert shared.balance(company).held_micros == HELD


def test_authorize_again_for_something_else_is_refused(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    refused(shared.fails("authorize", company, "c", destination="+14155550199"),
            "ALREADY_EXISTS", "KEY_REUSED")
    refused(shared.fails("authorize", company, "c", resource_type="voice_inbound"),
            "ALREADY_EXISTS", "KEY_REUSED")


def test_authorize_with_start_meters_at_once_and_starts_a_waiting_call(shared):
    company = shared.funded(1_000_000)
    both = shared.authorize(company, "both", start=True)
    assert (both.decision, both.state) == (pb.DECISION_ALLOWED, pb.CALL_STATE_METERING)
    shared.authorize(company, "later")
    later = shared.authorize(company, "later", start=True)
    assert later.replayed and later.state == pb.CALL_STATE_METERING
    assert shared.balance(company).burn_micros_per_minute == 2 * RATE


def test_start_again_is_a_replay_and_its_start_stays(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    first = shared.start(company, "c")
    again = shared.start(company, "c", started_at_ms=first.started_at_ms + 5_000)
    assert again.replayed and again.started_at_ms == first.started_at_ms


def test_a_start_in_the_past_accrues_at_once_and_not_before_the_authorization(shared):
    company = shared.funded(1_000_000)
    allowed = shared.authorize(company, "c")
    started = shared.start(company, "c", started_at_ms=allowed.as_of_ms - 3_600_000)
    assert started.started_at_ms == allowed.as_of_ms
    future = shared.funded(1_000_000)
    shared.authorize(future, "c")
    started = shared.start(future, "c", started_at_ms=allowed.as_of_ms + 3_600_000)
    assert started.started_at_ms == started.as_of_ms


def test_stop_ends_the_burning_and_keeps_the_hold(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c", start=True)
    stopped = shared.stop(company, "c")
    balance = shared.balance(company)
    assert (balance.burn_micros_per_minute, balance.held_micros) == (0, HEADROOM)
    assert balance.accrued_micros == stopped.accrued_micros and balance.active_calls == 1
    again = shared.stop(company, "c")
    assert again.replayed and again.metered_ms == stopped.metered_ms
    assert shared.get_call(company, "c").state == pb.CALL_STATE_STOPPED


def test_stop_of_a_call_that_did_not_start_is_refused(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    failure = shared.fails("stop", company, "c")
    refused(failure, "FAILED_PRECONDITION", "WRONG_STATE")
    assert failure.detail.state == pb.CALL_STATE_AUTHORIZED
    refused(shared.fails("stop", company, "unknown"), "NOT_FOUND", "UNKNOWN_CALL")


def test_settle_without_start_is_charged_and_not_late(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    settled = shared.settle(company, "c", 60_000)
    assert (settled.cost_micros, settled.late) == (RATE, False)
    assert shared.balance(company).posted_micros == 1_000_000 - RATE


def test_settle_as_metered_charges_from_start_to_stop(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c", start=True)
    stopped = shared.stop(company, "c")
    settled = shared.settle(company, "c", as_metered=True)
    assert settled.basis == pb.DURATION_BASIS_METERED
    assert settled.duration_ms == stopped.metered_ms
    shared.authorize(company, "idle")
    refused(shared.fails("settle", company, "idle", as_metered=True),
            "FAILED_PRECONDITION", "WRONG_STATE")


def test_settle_of_nothing_costs_nothing_and_is_in_the_ledger(shared, shared_stack):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    settled = shared.settle(company, "c", 0, durability=pb.DURABILITY_COMMITTED)
    assert (settled.cost_micros, settled.balance_micros) == (0, 1_000_000)
    assert settled.ledger_id
    assert shared_stack.value("select count(*) from usage_logs where company_id = %s",
                              [company]) == 1


def test_settle_again_is_a_replay_and_with_another_duration_refused(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    first = shared.settle(company, "c", 30_000)
    again = shared.settle(company, "c", 30_000, meta={"other": "meta"})
    assert again.replayed
    assert (again.cost_micros, again.ledger_id) == (first.cost_micros, first.ledger_id)
    failure = shared.fails("settle", company, "c", 31_000)
    refused(failure, "ALREADY_EXISTS", "KEY_REUSED")
    assert failure.detail.settled.cost_micros == first.cost_micros
    assert failure.detail.settled.ledger_id == first.ledger_id
    assert shared.balance(company).posted_micros == 1_000_000 - first.cost_micros


def test_a_call_that_was_never_authorized_is_charged_late(shared):
    company = shared.funded(1_000_000)
    settled = shared.settle(company, "c", 60_000, resource_type="voice_outbound",
                            destination="+14155550100")
    assert settled.late and settled.cost_micros == RATE
    again = shared.settle(company, "c", 60_000, resource_type="voice_outbound",
                          destination="+14155550100")
    assert again.replayed and again.late and again.ledger_id == settled.ledger_id


def test_a_late_call_without_resource_or_price_is_never_free(shared):
    company = shared.funded(1_000_000)
    refused(shared.fails("settle", company, "c", 60_000), "NOT_FOUND", "UNKNOWN_CALL")
    refused(shared.fails("settle", company, "c", 60_000, resource_type="sms"),
            "FAILED_PRECONDITION", "NO_PRICE")
    assert shared.balance(company).posted_micros == 1_000_000


def test_settle_costs_more_than_held_and_the_next_call_is_refused(shared):
    company = shared.funded(HELD)
    shared.authorize(company, "c", start=True)
    settled = shared.settle(company, "c", 600_000)
    assert settled.cost_micros == 10 * RATE and settled.balance_micros == HELD - 10 * RATE
    denied = shared.authorize(company, "next")
    assert denied.decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS


def test_cancel_gives_the_hold_back_and_bars_the_id(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    cancelled = shared.cancel(company, "c")
    assert (cancelled.state, cancelled.released_micros, cancelled.available_micros) == (
        pb.CALL_STATE_CANCELLED, HELD, 1_000_000)
    assert shared.cancel(company, "c").replayed
    assert shared.authorize(company, "c").decision == pb.DECISION_DENIED_BARRED
    shared.cancel(company, "never-heard-of")
    assert shared.authorize(company, "never-heard-of").decision == pb.DECISION_DENIED_BARRED
    refused(shared.fails("start", company, "c"), "FAILED_PRECONDITION", "WRONG_STATE")


def test_cancel_after_start_or_settle_is_refused(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c", start=True)
    failure = shared.fails("cancel", company, "c")
    refused(failure, "FAILED_PRECONDITION", "WRONG_STATE")
    assert failure.detail.state == pb.CALL_STATE_METERING
    shared.settle(company, "c", 1_000)
    failure = shared.fails("cancel", company, "c")
    refused(failure, "FAILED_PRECONDITION", "WRONG_STATE")
    assert failure.detail.state == pb.CALL_STATE_SETTLED


def test_a_settled_call_stays_settled(shared):
    company = shared.funded(1_000_000)
    shared.authorize(company, "c")
    shared.settle(company, "c", 1_000)
    assert shared.authorize(company, "c").decision == pb.DECISION_DENIED_BARRED
    for method in ["start", "stop"]:
        refused(shared.fails(method, company, "c"), "FAILED_PRECONDITION", "WRONG_STATE")


def test_adopt_meters_from_the_true_start_below_zero(shared):
    company = shared.funded(0)
    now = shared.balance(company).as_of_ms
    adopted = shared.adopt(company, "c", now - 60_000, meta={"found": "1"})
    assert (adopted.state, adopted.replayed) == (pb.CALL_STATE_METERING, False)
    assert adopted.price.rate_micros_per_minute == RATE
    assert adopted.available_micros <= -RATE
    assert shared.adopt(company, "c", now - 60_000).replayed
    call = shared.get_call(company, "c")
    assert call.started_at_ms == now - 60_000 and dict(call.meta) == {"found": "1"}
    settled = shared.settle(company, "c", 60_000)
    assert settled.balance_micros == -RATE
    refused(shared.fails("adopt", company, "c", now - 60_000),
            "FAILED_PRECONDITION", "WRONG_STATE")


def test_adopt_needs_a_start_that_can_be_and_a_price(shared):
    company = shared.funded(0)
    now = shared.balance(company).as_of_ms
    for started_at_ms in [0, -1, now + 600_000, now - 2 * 3_600_000]:
        failure = shared.fails("adopt", company, "c", started_at_ms)
        assert (started_at_ms, failure.code, failure.field) == (
            started_at_ms, grpc.StatusCode.INVALID_ARGUMENT, "started_at_ms")
    refused(shared.fails("adopt", company, "c", now - 1_000, resource_type="sms"),
            "FAILED_PRECONDITION", "NO_PRICE")


def test_start_of_what_is_unknown_is_not_found(shared):
    company = shared.funded(1_000_000)
    refused(shared.fails("start", company, "c"), "NOT_FOUND", "UNKNOWN_CALL")
    refused(shared.fails("get_call", company, "c"), "NOT_FOUND", "UNKNOWN_CALL")


def test_live_calls_are_listed_oldest_first_over_pages(shared):
    company = shared.funded(100_000_000, plan_id="growth")
    ids = [f"call-{n:02}" for n in range(25)]
    for call in ids:
        shared.authorize(company, call, meta={"n": call})
    listed = shared.live_calls(company, page_size=7)
    assert [call.call_id for call in listed] == ids
    assert all(dict(call.meta) == {"n": call.call_id} for call in listed)
    other = shared.funded(1_000_000)
    shared.authorize(other, "theirs")
    everybody = shared.live_calls("", page_size=7)
    mine = [call.call_id for call in everybody if call.company_id == company]
    assert mine == ids
    assert [call.call_id for call in everybody if call.company_id == other] == ["theirs"]


def test_a_page_token_of_another_question_is_refused(shared):
    company = shared.funded(100_000_000, plan_id="growth")
    for n in range(3):
        shared.authorize(company, f"c{n}")
    token = shared.list_page(company, page_size=1).next_page_token
    assert token
    for fields in [{"company": shared.funded(0), "page_token": token},
                   {"company": company, "page_token": "nonsense"}]:
        failure = shared.fails("list_page", **fields)
        assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


def test_an_ended_call_is_answered_from_the_ledger_too(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(1_000_000)
    client.authorize(company, "c", meta={"a": "b"})
    settled = client.settle(company, "c", 30_000, durability=pb.DURABILITY_COMMITTED)
    before = client.get_call(company, "c")
    stack.redis.client.flushall()
    after = wait_until(lambda: _call_or_none(client, company), 15, "the store is in use again")
    for field in ["state", "cost_micros", "billed_ms", "duration_ms", "ledger_id", "price",
                  "resource_type", "destination", "basis", "meta"]:
        assert getattr(after, field) == getattr(before, field), field
    assert after.ledger_id == settled.ledger_id
    check_invariants(stack)


def _call_or_none(client, company):
    try:
        return client.get_call(company, "c")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        return None


@pytest.fixture(scope="module", autouse=True)
def invariants_hold_afterwards(shared_stack):
    yield
    check_invariants(shared_stack)
