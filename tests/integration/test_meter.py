"""The per-second debit: a closed form, to the millisecond, with nothing written.

SPDX-License-Identifier: Apache-2.0
"""

import time

from support.contract import pb
from support.invariants import check_invariants

# destination -> micros per minute, as seeded
RATES = {"+14155550100": 100_000, "+442071234567": 120_000, "+2348012345678": 220_000}


def accrued_at(starts, at_ms):
    """What the running calls owe: exact, rounded up once for the wallet."""
    return -(-sum(rate * (at_ms - start) for start, rate in starts) // 60_000)


def test_three_running_calls_debit_their_rates_and_redis_sees_no_write(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(100_000_000)
    starts = []
    for destination, rate in RATES.items():
        client.authorize(company, destination, destination=destination)
        starts.append((client.start(company, destination).started_at_ms, rate))
    client.balance(company)
    stack.wait_until_flushed(company)

    changes, answers = stack.redis.change_count(), []
    next_at = time.monotonic()
    for _ in range(30):  # ten times a second, as a dashboard does
        answers.append(client.balance(company))
        next_at += 0.1
        time.sleep(max(0, next_at - time.monotonic()))
    assert stack.redis.change_count() == changes

    burn = sum(RATES.values())
    for answer in answers:
        assert answer.accrued_micros == accrued_at(starts, answer.as_of_ms)
        assert answer.available_micros == (answer.posted_micros - answer.held_micros
                                           - answer.accrued_micros)
        assert answer.burn_micros_per_minute == burn and answer.active_calls == 3
    exhaustions = {answer.exhausts_at_ms for answer in answers}
    assert len(exhaustions) == 1, "T* does not move while nothing happens"
    available = answers[0].available_micros
    assert abs(exhaustions.pop() - (answers[0].as_of_ms + available * 60_000 / burn)) <= 1
    elapsed = answers[-1].as_of_ms - answers[0].as_of_ms
    assert 2_500 <= elapsed <= 10_000
    fallen = answers[0].available_micros - answers[-1].available_micros
    assert abs(fallen - burn * elapsed / 60_000) <= 1
    check_invariants(stack)


def test_a_call_that_ends_takes_exactly_its_own_share_along(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(100_000_000)
    client.authorize(company, "a", start=True)
    client.authorize(company, "b", destination="+442071234567")
    start_b = client.start(company, "b").started_at_ms
    client.settle(company, "a", 1_000)
    balance = client.balance(company)
    assert balance.accrued_micros == accrued_at([(start_b, 120_000)], balance.as_of_ms)
    assert balance.burn_micros_per_minute == 120_000
    client.settle(company, "b", 1_000)
    balance = client.balance(company)
    assert (balance.accrued_micros, balance.burn_micros_per_minute, balance.held_micros,
            balance.exhausts_at_ms) == (0, 0, 0, 0)
    check_invariants(stack)


def test_both_sidecars_and_a_restarted_one_say_the_same(make_stack):
    stack = make_stack(sidecars=2)
    here, there = stack.sidecars
    company = here.client.funded(100_000_000)
    here.client.authorize(company, "c")
    start = here.client.start(company, "c").started_at_ms
    there.restart()
    for sidecar in stack.sidecars:
        answer = sidecar.client.balance(company)
        assert answer.accrued_micros == accrued_at([(start, 100_000)], answer.as_of_ms)
    check_invariants(stack)


def test_a_wallet_that_runs_dry_says_when(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(400_000)
    client.authorize(company, "c", reserve_ms=1)
    client.start(company, "c")
    balance = client.balance(company)
    expected = balance.as_of_ms + balance.available_micros * 60_000 / 100_000
    assert abs(balance.exhausts_at_ms - expected) <= 1
    client.settle(company, "c", 600_000)
    assert client.balance(company).available_micros == 400_000 - 1_000_000
    assert (client.authorize(company, "d").decision
            == pb.DECISION_DENIED_INSUFFICIENT_FUNDS)
    check_invariants(stack)
