"""What becomes of calls that nobody ends: expired, overdue, abandoned, corrected.

Hours go by in the store's clock alone: its server runs with a clock that the test sets ahead.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from support.client import until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until
from support.watcher import Watcher

RATE = 600_000
PLAN = "tests-leases"
LONGEST_MS, LEASE_MS, GUARD_MS = 60_000, 20_000, 5_000
ABANDONED_AFTER_MS = LONGEST_MS + GUARD_MS + 15 * 60_000
HEADROOM = RATE * (1_000 + GUARD_MS) // 60_000 + 1


@pytest.fixture
def later(make_stack):
    stack = make_stack(sidecars=2, movable_clock=True)
    stack.add_plan(PLAN, rate=(RATE, 0, 0, 1_000), longest_call_ms=LONGEST_MS,
                   ring_lease_ms=LEASE_MS, guard_ms=GUARD_MS)
    return stack


def watch(stack, money=100 * RATE):
    company = stack.client.funded(money, plan_id=PLAN)
    return company, Watcher(stack.sidecars[1].client, company).begin()


def test_a_call_that_never_starts_gives_its_hold_back(later):
    client = later.client
    company, watcher = watch(later)
    held = client.authorize(company, "rings").held_micros
    later.redis.set_clock_ahead(LEASE_MS)
    expired = watcher.wait_for(1, pb.EVENT_TYPE_CALL_EXPIRED)[0]
    assert (expired.call_id, expired.amount_micros) == ("rings", held)
    balance = client.balance(company)
    assert (balance.held_micros, balance.active_calls) == (0, 0)
    assert client.get_call(company, "rings").state == pb.CALL_STATE_EXPIRED
    # Nobody charged anything, and the same id is decided anew.
    assert balance.posted_micros == 100 * RATE
    assert client.start(company, "rings").decision == pb.DECISION_ALLOWED
    check_invariants(later)


def test_a_start_after_the_lease_may_be_refused(later):
    client = later.client
    company, watcher = watch(later, money=HEADROOM + RATE)
    client.authorize(company, "rings")
    later.redis.set_clock_ahead(LEASE_MS)
    watcher.wait_for(1, pb.EVENT_TYPE_CALL_EXPIRED)
    client.authorize(company, "other", start=True)
    assert (client.start(company, "rings").decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS)
    client.settle(company, "other", 1_000)
    check_invariants(later)


def abandon(stack, company, watcher, call):
    stack.redis.set_clock_ahead(LONGEST_MS + GUARD_MS)
    overdue = watcher.wait_for(1, pb.EVENT_TYPE_CALL_OVERDUE, call=call)
    assert len(overdue) == 1
    stack.redis.set_clock_ahead(15 * 60_000)
    abandoned = watcher.wait_for(1, pb.EVENT_TYPE_CALL_ABANDONED, call=call)
    assert len(abandoned) == 1 and abandoned[0].basis == pb.DURATION_BASIS_ASSUMED
    return abandoned[0]


def test_a_call_that_nobody_settles_is_charged_its_longest_and_corrected(later):
    client = later.client
    company, watcher = watch(later)
    client.authorize(company, "lost", start=True, meta={"city": "Berlin"})
    event = abandon(later, company, watcher, "lost")
    assert event.amount_micros == RATE and event.billed_ms == LONGEST_MS
    call = client.get_call(company, "lost")
    assert (call.state, call.cost_micros, call.duration_ms) == (
        pb.CALL_STATE_ABANDONED, RATE, LONGEST_MS)
    assert client.balance(company).posted_micros == 99 * RATE
    assert client.fails("cancel", company, "lost").code == grpc.StatusCode.FAILED_PRECONDITION
    assert client.authorize(company, "lost").decision == pb.DECISION_DENIED_BARRED

    settled = client.settle(company, "lost", 30_000, durability=pb.DURABILITY_COMMITTED)
    assert (settled.state, settled.cost_micros, settled.corrected_micros) == (
        pb.CALL_STATE_SETTLED, RATE // 2, -RATE // 2)
    assert settled.balance_micros == 100 * RATE - RATE // 2
    corrected = watcher.wait_for(1, pb.EVENT_TYPE_CALL_CORRECTED)[0]
    assert (corrected.call_id, corrected.amount_micros) == ("lost", -RATE // 2)
    assert corrected.meta["city"] == "Berlin"
    again = client.settle(company, "lost", 30_000, durability=pb.DURABILITY_COMMITTED)
    assert again.replayed and again.cost_micros == RATE // 2
    assert client.fails("settle", company, "lost", 31_000).code == grpc.StatusCode.ALREADY_EXISTS
    rows = later.sql("select type, reference_id from wallet_transactions where company_id = %s"
                     " and type <> 'top_up' order by version", [company])
    assert rows == [("usage", "lost"), ("adjustment", "correction:lost")]
    costs = later.sql("select callgate.to_micros(u.cost, 'usd'), u.quantity from usage_logs u"
                      " where company_id = %s order by created_at", [company])
    assert [(int(cost), float(minutes)) for cost, minutes in costs] == [
        (RATE, 1.0), (-RATE // 2, -0.5)]
    check_invariants(later)


def test_after_its_stop_it_is_charged_what_it_metered(later):
    client = later.client
    company, watcher = watch(later)
    started = client.authorize(company, "stopped", start=True).as_of_ms
    metered = client.stop(company, "stopped").metered_ms
    event = abandon(later, company, watcher, "stopped")
    assert client.get_call(company, "stopped").duration_ms == metered
    assert event.amount_micros == -(-RATE * (-(-metered // 1_000)) * 1_000 // 60_000)
    assert started > 0
    # Settled as metered, nothing has to be corrected, and it is booked that it was asked.
    settled = client.settle(company, "stopped", as_metered=True, durability=pb.DURABILITY_COMMITTED)
    assert settled.corrected_micros == 0 and settled.state == pb.CALL_STATE_SETTLED
    check_invariants(later)


def test_where_it_was_cut_off_no_more_than_the_guard_is_assumed(later):
    client = later.client
    company, watcher = watch(later, money=HEADROOM + 3 * RATE // 60)
    started = client.authorize(company, "cut", start=True, reserve_ms=1).as_of_ms
    ends_at = client.balance(company).exhausts_at_ms
    told = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF)[0]
    assert told.exhausts_at_ms == ends_at
    abandon(later, company, watcher, "cut")
    call = client.get_call(company, "cut")
    assert call.duration_ms == ends_at + GUARD_MS - started
    assert client.balance(company).posted_micros >= 0
    check_invariants(later)


def test_the_correction_is_made_also_where_the_store_has_forgotten_the_call(later):
    client = later.client
    company, watcher = watch(later)
    client.authorize(company, "lost", start=True)
    abandon(later, company, watcher, "lost")
    later.wait_until_flushed(company)
    later.redis.client.flushall()
    settled = until_answered(lambda: client.settle(
        company, "lost", 6_000, durability=pb.DURABILITY_COMMITTED))
    assert (settled.cost_micros, settled.corrected_micros) == (RATE // 10, RATE // 10 - RATE)
    later.redis.client.flushall()
    again = until_answered(lambda: client.settle(
        company, "lost", 6_000, durability=pb.DURABILITY_COMMITTED))
    assert again.replayed and again.cost_micros == RATE // 10
    assert client.balance(company).posted_micros == 100 * RATE - RATE // 10
    check_invariants(later)


def test_sidecars_that_slept_through_it_do_it_when_they_wake(later):
    client = later.client
    company, _ = watch(later)
    client.authorize(company, "rings")
    client.authorize(company, "talks", start=True)
    for sidecar in later.sidecars:
        sidecar.kill()
    later.redis.set_clock_ahead(ABANDONED_AFTER_MS)
    later.sidecars[0].start()
    wait_until(lambda: client.balance(company).active_calls == 0, 20, "both have ended")
    assert client.get_call(company, "rings").state == pb.CALL_STATE_EXPIRED
    assert client.get_call(company, "talks").state == pb.CALL_STATE_ABANDONED
    later.sidecars[1].start()
    check_invariants(later)
