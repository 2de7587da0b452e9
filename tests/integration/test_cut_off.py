"""The wallet's end takes effect in the middle of calls: warned, cut off, lifted by money.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import statistics
import time

import pytest

from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until
from support.watcher import Watcher

RATE = 600_000                          # micros per minute: 10 a millisecond
GUARD_MS, INCREMENT_MS = 5_000, 1_000
HEADROOM = RATE * (INCREMENT_MS + GUARD_MS) // 60_000 + 1
PLAN = "tests-cut"
COLUMNS = {"guard_ms": GUARD_MS, "cut_warning_ms": 3_000, "cut_repeat_ms": 1_000,
           "default_reserve_ms": 1_000}
LATE_MS = 150


@pytest.fixture
def two(make_stack):
    stack = make_stack(sidecars=2)
    stack.add_plan(PLAN, rate=(RATE, 0, 0, INCREMENT_MS), **COLUMNS)
    return stack


def wallet_for(client, seconds, calls=3):
    """Pays for so many seconds of so many calls, besides what they hold until they are settled
    and the second that the last of them reserves while it rings."""
    return client.funded(calls * (HEADROOM + seconds * RATE // 60), plan_id=PLAN)


def talk(client, company, *calls):
    """All start at once, or T* would not be what the balance says."""
    def one(call):
        answer = client.authorize(company, call, start=True, reserve_ms=1)
        assert answer.decision == pb.DECISION_ALLOWED, answer
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(one, calls))
    return client.balance(company).exhausts_at_ms


def check_told(watchers, company, calls, ends_at):
    """Every one of them heard of every call, in time, and of the same T*."""
    lateness = []
    for watcher in watchers:
        for call in calls:
            first = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF, company=company, call=call)[0]
            assert (first.repeat, first.exhausts_at_ms) == (0, ends_at)
            lateness.append(watcher.lateness_ms(first))
    assert 0 <= min(lateness) and max(lateness) <= LATE_MS, sorted(lateness)


def settle_as_told(client, watcher, company, calls, react_ms=300):
    """What the telephony side does: ends the talk on CUT_OFF, reports its length."""
    posted = []
    for call in calls:
        told = watcher.of(pb.EVENT_TYPE_CUT_OFF, company=company, call=call)[0]
        started = client.get_call(company, call).started_at_ms
        talked = round(watcher.arrivals[told.id] * 1000) + react_ms - started
        assert talked < told.exhausts_at_ms + GUARD_MS - started, "the guard is respected"
        posted.append((talked, client.settle(company, call, talked).cost_micros))
    return posted


def test_three_calls_are_cut_off_at_the_end_over_two_sidecars_one_killed(two):
    here, there = two.sidecars
    company = wallet_for(here.client, 10)
    watchers = [Watcher(here.client).begin(), Watcher(there.client, company).begin()]
    ends_at = talk(here.client, company, "a", "b", "c")
    assert 9_000 <= ends_at - time.time() * 1000 <= 10_500

    wait_until(lambda: time.time() * 1000 >= ends_at - 5_000, 10, "second five")
    here.kill()
    check_told([watchers[1]], company, "abc", ends_at)
    warned = watchers[1].of(pb.EVENT_TYPE_CUT_WARNING, company=company)
    assert {e.call_id for e in warned} == {"a", "b", "c"} and len(warned) == 3
    assert all(abs(e.remaining_ms - 3_000) <= LATE_MS and e.exhausts_at_ms == ends_at for e in warned)

    client = there.client
    late = client.authorize(company, "late", start=True)
    assert late.decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    posted = settle_as_told(client, watchers[1], company, "abc")
    for talked, cost in posted:  # as the model says, to the micro
        assert cost == -(-RATE * (-(-talked // INCREMENT_MS) * INCREMENT_MS) // 60_000)
    balance = client.balance(company)
    given = 3 * (HEADROOM + 10 * RATE // 60)
    assert balance.posted_micros == given - sum(cost for _, cost in posted) >= 0
    assert (balance.held_micros, balance.active_calls, balance.exhausts_at_ms) == (0, 0, 0)
    here.start()
    check_invariants(two)


def test_a_call_that_starts_when_nothing_is_left_is_told_at_once(two):
    here, there = two.sidecars
    company = wallet_for(here.client, 2, calls=2)
    watcher = Watcher(there.client, company).begin()
    here.client.authorize(company, "rings", reserve_ms=1)
    ends_at = talk(here.client, company, "talks")
    check_told([watcher], company, ["talks"], ends_at)
    started = here.client.start(company, "rings").started_at_ms
    first = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF, company=company, call="rings")[0]
    assert (first.repeat, first.exhausts_at_ms) == (0, started)
    assert watcher.lateness_ms(first) <= LATE_MS
    check_invariants(two)


def test_it_is_repeated_until_the_call_is_settled(two):
    here, there = two.sidecars
    company = wallet_for(here.client, 1, calls=2)
    watcher = Watcher(here.client, company).begin()
    ends_at = talk(there.client, company, "a", "b")
    told = watcher.wait_for(4, pb.EVENT_TYPE_CUT_OFF, company=company, call="a")
    assert [e.repeat for e in told[:4]] == [0, 1, 2, 3]
    gaps = [b.at_ms - a.at_ms for a, b in zip(told, told[1:])]
    assert all(1_000 <= gap <= 1_000 + LATE_MS for gap in gaps), gaps
    assert all(e.exhausts_at_ms == ends_at for e in told)
    there.client.settle(company, "a", 1_000)
    settled = watcher.wait_for(1, pb.EVENT_TYPE_CALL_SETTLED, company=company, call="a")[0]
    heard = len(watcher.of(pb.EVENT_TYPE_CUT_OFF, company=company, call="b"))
    watcher.wait_for(heard + 2, pb.EVENT_TYPE_CUT_OFF, company=company, call="b")
    after = [e for e in watcher.of(pb.EVENT_TYPE_CUT_OFF, call="a") if e.at_ms > settled.at_ms]
    assert not after
    check_invariants(two)


def test_money_in_time_lets_them_talk_on_and_moves_the_end(two):
    here, there = two.sidecars
    company = wallet_for(here.client, 4)
    watcher = Watcher(there.client, company).begin()
    ends_at = talk(here.client, company, "a", "b", "c")
    wait_until(lambda: time.time() * 1000 >= ends_at - 1_000, 10, "the last second")
    here.client.credit(company, 3 * 3 * RATE // 60)  # three seconds more of each
    moved = here.client.balance(company).exhausts_at_ms
    assert moved == ends_at + 3_000
    credited = watcher.wait_for(1, pb.EVENT_TYPE_CREDITED, company=company)[0]
    assert credited.exhausts_at_ms == moved and credited.amount_micros == 3 * 3 * RATE // 60
    check_told([watcher], company, "abc", moved)
    # Warned before the first end, and again, since the money re-armed it, before the second.
    warned = watcher.of(pb.EVENT_TYPE_CUT_WARNING, company=company, call="a")
    assert [e.exhausts_at_ms for e in warned] == [ends_at, moved]
    check_invariants(two)


def test_money_that_comes_too_late_lifts_the_cut_off(two):
    client = two.client
    company = wallet_for(client, 1, calls=1)
    watcher = Watcher(client, company).begin()
    ends_at = talk(client, company, "a")
    check_told([watcher], company, ["a"], ends_at)
    client.credit(company, 4 * RATE // 60)
    moved = client.balance(company).exhausts_at_ms
    assert moved > ends_at + 1_000
    again = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF, company=company, timeout=1) and wait_until(
        lambda: [e for e in watcher.of(pb.EVENT_TYPE_CUT_OFF) if e.exhausts_at_ms == moved], 20)
    assert again[0].repeat == 0
    silence = [e for e in watcher.of(pb.EVENT_TYPE_CUT_OFF) if moved - 3_500 < e.at_ms < moved]
    assert not silence, "nothing was repeated while there was money"
    check_invariants(two)


def test_a_raised_limit_moves_the_end_at_once(two):
    """UpdateWallet brings the new terms to the store itself."""
    two.add_plan("tests-cut-credit", rate=(RATE, 0, 0, INCREMENT_MS), credit_limit_micros=5 * RATE, **COLUMNS)
    client = two.client
    company = wallet_for(client, 3, calls=1)
    ends_at = talk(client, company, "a")
    client.update_wallet(company, plan_id="tests-cut-credit")
    assert client.balance(company).exhausts_at_ms == ends_at + 5 * 60_000


@pytest.mark.parametrize("change", ["credit_unlimited = true", "credit_limit_micros = 900000000", "shadow = true"])
def test_a_changed_plan_reaches_calls_that_nobody_asks_about(two, change):
    """In both sidecars' caches, in neither's requests: the cut-off is lifted all the same."""
    client = two.client
    company = wallet_for(client, 1, calls=1)
    watcher = Watcher(client, company).begin()
    ends_at = talk(client, company, "a")
    check_told([watcher], company, ["a"], ends_at)
    two.sql(f"update callgate.plans set {change} where plan_id = %s", [PLAN])
    changed_at = time.time() * 1000
    wait_until(lambda: time.time() * 1000 > changed_at + 4_000, 10, "four repeats, if there were any")
    late = [e for e in watcher.of(pb.EVENT_TYPE_CUT_OFF)
            if e.at_ms > changed_at + 1_500 and not e.shadow]
    assert not late
    check_invariants(two)


def test_what_costs_nothing_and_what_has_no_end_is_never_cut_off(two):
    two.add_plan("tests-cut-free", rate=(0, 0, 0, 1_000), **COLUMNS)
    two.add_plan("tests-cut-unlimited", rate=(RATE, 0, 0, 1_000), credit_unlimited=True, **COLUMNS)
    client = two.client
    free, unlimited = client.funded(1, plan_id="tests-cut-free"), client.funded(1, plan_id="tests-cut-unlimited")
    empty = wallet_for(client, 1, calls=1)
    watcher = Watcher(client).begin()
    talk(client, free, "free")
    talk(client, unlimited, "unlimited")
    talk(client, empty, "empty")
    watcher.wait_for(3, pb.EVENT_TYPE_CUT_OFF, company=empty)
    assert not [e for e in watcher.of(pb.EVENT_TYPE_CUT_OFF, pb.EVENT_TYPE_CUT_WARNING)
                if e.company_id != empty]
    check_invariants(two)


def test_the_ends_of_many_wallets_are_told_in_time(two):
    """Spread over two seconds and all partitions; by far the most within the bound."""
    here, there = two.sidecars
    wallets = [wallet_for(here.client, 3, calls=1) for _ in range(60)]
    watcher = Watcher(there.client).begin()
    ends = {}
    for n, company in enumerate(wallets):
        ends[company] = talk((here, there)[n % 2].client, company, "c")
        time.sleep(0.03)
    late = []
    for company, ends_at in ends.items():
        first = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF, company=company)[0]
        assert first.exhausts_at_ms == ends_at
        late.append(watcher.lateness_ms(first))
    assert min(late) >= 0 and statistics.quantiles(late, n=20)[18] <= LATE_MS, sorted(late)


def test_low_balance_is_told_once_and_again_after_money(two):
    client = two.client
    company = client.funded(10 * RATE, plan_id=PLAN)
    client.update_wallet(company, low_balance_micros=5 * RATE)
    watcher = Watcher(client, company).begin()
    client.charge(company, 4 * RATE)
    client.charge(company, 2 * RATE)
    low = watcher.wait_for(1, pb.EVENT_TYPE_BALANCE_LOW)[0]
    assert low.available_micros == 4 * RATE
    client.charge(company, RATE)
    client.credit(company, RATE)      # still below: nothing is crossed
    client.credit(company, 3 * RATE)  # above again
    client.charge(company, 4 * RATE)
    low = watcher.wait_for(2, pb.EVENT_TYPE_BALANCE_LOW)
    assert [e.available_micros for e in low] == [4 * RATE, 3 * RATE]
    charged = watcher.wait_for(4, pb.EVENT_TYPE_CHARGED)
    order = [e.type for e in watcher.events]
    assert order.index(pb.EVENT_TYPE_BALANCE_LOW) > order.index(pb.EVENT_TYPE_CHARGED)
    assert [e.amount_micros for e in charged] == [4 * RATE, 2 * RATE, RATE, 4 * RATE]
    check_invariants(two)


def test_low_balance_by_minutes_left(two):
    client = two.client
    company = client.funded(HEADROOM + RATE, plan_id=PLAN)  # one minute of one call
    client.update_wallet(company, low_balance_remaining_ms=57_000)
    watcher = Watcher(client, company).begin()
    ends_at = talk(client, company, "a")
    low = watcher.wait_for(1, pb.EVENT_TYPE_BALANCE_LOW)[0]
    assert low.exhausts_at_ms == ends_at and abs(low.remaining_ms - 57_000) <= LATE_MS
    check_invariants(two)
