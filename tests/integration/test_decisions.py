"""Whether a call may start: every refusal, their order, and what they are judged on.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import threading

import pytest

from support.client import Client, new_company, new_reference
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

RATE = 100_000
HEADROOM = RATE * 6_000 // 60_000 + 1
HELD = HEADROOM + RATE


def test_funds_to_the_micro(shared):
    short = shared.funded(HELD - 1)
    denied = shared.authorize(short, "c")
    assert denied.decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    assert denied.state == pb.CALL_STATE_UNSPECIFIED
    assert (denied.required_micros, denied.available_micros, denied.held_micros) == (
        HELD, HELD - 1, 0)
    assert (denied.max_duration_ms, denied.expires_at_ms) == (0, 0)
    shared.credit(short, 1)
    assert shared.authorize(short, "c").decision == pb.DECISION_ALLOWED
    assert shared.balance(short).available_micros == 0


def test_an_empty_wallet_is_refused_also_what_costs_almost_nothing(shared):
    company = shared.funded(0)
    assert (shared.authorize(company, "c", reserve_ms=1).decision
            == pb.DECISION_DENIED_INSUFFICIENT_FUNDS)


def test_the_reserve_is_what_was_asked_for(shared):
    company = shared.funded(10_000_000)
    assert shared.authorize(company, "short", reserve_ms=1).held_micros == HEADROOM + 2
    assert shared.authorize(company, "long", reserve_ms=600_000).held_micros == HEADROOM + 10 * RATE


def test_the_longest_call_follows_from_the_balance_and_the_others(shared):
    company = shared.funded(HEADROOM + 3 * RATE)
    assert shared.authorize(company, "a", reserve_ms=1).max_duration_ms == 180_000
    shared.start(company, "a")
    second = shared.authorize(company, "b", reserve_ms=1)
    # Two calls burn what is left after the second one's headroom.
    left = shared.balance(company)
    expected = (left.available_micros + second.held_micros - HEADROOM) * 60_000 // (2 * RATE)
    assert abs(second.max_duration_ms - expected) <= 1_000


def test_the_longest_prefix_prices_the_call(shared):
    company = shared.funded(100_000_000)
    for destination, rate in [("+14155550100", 100_000), ("+442071234567", 120_000),
                              ("+447911123456", 160_000), ("+2348012345678", 220_000),
                              ("+819012345678", 400_000), ("", 400_000)]:
        answer = shared.authorize(company, "", destination=destination, validate_only=True)
        assert (destination, answer.price.rate_micros_per_minute) == (destination, rate)
    inbound = shared.authorize(company, "", resource_type="voice_inbound", validate_only=True)
    assert inbound.price.rate_micros_per_minute == 80_000


def test_validate_only_decides_and_keeps_nothing(shared):
    company = shared.funded(HELD)
    for call in ["", "c", "c"]:
        answer = shared.authorize(company, call, validate_only=True)
        assert (answer.decision, answer.state, answer.replayed) == (
            pb.DECISION_ALLOWED, pb.CALL_STATE_UNSPECIFIED, False)
        assert answer.required_micros == HELD
    balance = shared.balance(company)
    assert (balance.held_micros, balance.active_calls) == (0, 0)
    assert shared.authorize(company, "c").decision == pb.DECISION_ALLOWED


def test_the_concurrency_limit_counts_what_has_not_been_settled(shared):
    company = shared.funded(100_000_000)
    for n in range(10):
        assert shared.authorize(company, f"c{n}").decision == pb.DECISION_ALLOWED
    shared.start(company, "c0")
    shared.stop(company, "c0")
    assert shared.authorize(company, "eleventh").decision == pb.DECISION_DENIED_CONCURRENCY_LIMIT
    shared.settle(company, "c0", 1_000)
    assert shared.authorize(company, "eleventh").decision == pb.DECISION_ALLOWED


def test_a_frozen_wallet_refuses_new_calls_and_finishes_old_ones(shared):
    company = shared.funded(10_000_000)
    shared.authorize(company, "running", start=True)
    shared.update_wallet(company, frozen=True)
    assert shared.authorize(company, "new").decision == pb.DECISION_DENIED_SUSPENDED
    assert shared.balance(company).frozen
    assert shared.settle(company, "running", 60_000).cost_micros == RATE
    shared.update_wallet(company, frozen=False)
    assert shared.authorize(company, "new").decision == pb.DECISION_ALLOWED


def test_no_rate_no_call(shared):
    company = shared.funded(10_000_000)
    denied = shared.authorize(company, "c", resource_type="sms", destination="")
    assert denied.decision == pb.DECISION_DENIED_NO_PRICE and not denied.HasField("price")
    euros = new_company()
    shared.create_wallet(euros, currency="eur")
    shared.credit(euros, 10_000_000)
    assert shared.authorize(euros, "c").decision == pb.DECISION_DENIED_NO_PRICE


def test_refusals_in_their_order(shared, shared_stack):
    """barred, suspended, no price, concurrency, funds: each hides those after it."""
    plan = new_reference("order")[:40]
    shared_stack.add_plan(plan, calls_max=1)
    company = shared.funded(HELD, plan_id=plan)
    shared.authorize(company, "only")  # the one call admitted, and all the money
    shared.cancel(company, "barred")
    shared.update_wallet(company, frozen=True)
    assert (shared.authorize(company, "barred", resource_type="sms").decision
            == pb.DECISION_DENIED_BARRED)
    assert (shared.authorize(company, "new", resource_type="sms").decision
            == pb.DECISION_DENIED_SUSPENDED)
    shared.update_wallet(company, frozen=False)
    assert (shared.authorize(company, "new", resource_type="sms").decision
            == pb.DECISION_DENIED_NO_PRICE)
    assert shared.authorize(company, "new").decision == pb.DECISION_DENIED_CONCURRENCY_LIMIT
    shared_stack.sql("update callgate.plans set calls_max = 5 where plan_id = %s", [plan])
    wait_until(lambda: shared.authorize(company, "", validate_only=True).decision
               == pb.DECISION_DENIED_INSUFFICIENT_FUNDS, 2, "the plan's change is in force")
    assert shared.authorize(company, "only").replayed  # a replay precedes all of them


def test_credit_of_the_plan_may_be_used_and_not_more(shared, shared_stack):
    plan = new_reference("credit")[:40]
    shared_stack.add_plan(plan, credit_limit_micros=HELD)
    company = shared.funded(0, plan_id=plan)
    assert shared.balance(company).available_micros == HELD
    assert shared.authorize(company, "c").decision == pb.DECISION_ALLOWED
    assert shared.authorize(company, "d").decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    balance = shared.balance(company)
    assert (balance.credit_limit_micros, balance.credit_unlimited) == (HELD, False)


def test_enterprise_is_never_refused_for_funds(shared):
    company = shared.funded(0, plan_id="enterprise")
    for n in range(20):
        allowed = shared.authorize(company, f"c{n}", start=True)
        assert allowed.decision == pb.DECISION_ALLOWED
    balance = shared.balance(company)
    assert balance.credit_unlimited and balance.available_micros < 0
    assert (balance.exhausts_at_ms, balance.credit_limit_micros) == (0, 0)
    assert shared.settle(company, "c0", 600_000).balance_micros < 0


def test_shadow_mode_says_what_would_have_been_decided(shared, shared_stack):
    plan = new_reference("shadow")[:40]
    shared_stack.add_plan(plan, shadow=True)
    company = shared.funded(0, plan_id=plan)
    answer = shared.authorize(company, "c", start=True)
    assert (answer.decision, answer.shadow_decision) == (
        pb.DECISION_ALLOWED, pb.DECISION_DENIED_INSUFFICIENT_FUNDS)
    assert answer.held_micros == HELD or answer.held_micros == HEADROOM
    assert shared.balance(company).available_micros < 0
    assert shared.settle(company, "c", 60_000).balance_micros == -RATE


def test_thirty_at_once_through_two_sidecars_on_a_wallet_that_pays_for_seven(make_stack):
    stack = make_stack(sidecars=2)
    company = stack.client.funded(7 * HELD + HELD // 2)
    clients = [Client(sidecar.address) for sidecar in stack.sidecars for _ in range(15)]
    ready = threading.Barrier(len(clients) + 1)
    overdrawn, over = [], threading.Event()

    def authorize(client, number):
        client.is_serving()
        ready.wait()
        return client.authorize(company, f"call-{number}")

    def watch():
        while not over.is_set():
            balance = stack.client.balance(company)
            if balance.held_micros > balance.posted_micros:
                overdrawn.append(balance)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        asked = [pool.submit(authorize, client, n) for n, client in enumerate(clients)]
        ready.wait()
        answers = [each.result() for each in asked]
    over.set()
    watcher.join()
    decisions = [answer.decision for answer in answers]
    assert decisions.count(pb.DECISION_ALLOWED) == 7
    assert decisions.count(pb.DECISION_DENIED_INSUFFICIENT_FUNDS) == 23
    assert not overdrawn
    balance = stack.client.balance(company)
    assert (balance.held_micros, balance.active_calls) == (7 * HELD, 7)
    for client in clients:
        client.close()
    check_invariants(stack)


@pytest.fixture(scope="module", autouse=True)
def invariants_hold_afterwards(shared_stack):
    yield
    check_invariants(shared_stack)
