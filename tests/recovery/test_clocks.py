"""A store whose clock is wrong is not served; a sidecar whose own clock is wrong goes on.

SPDX-License-Identifier: Apache-2.0
"""


import grpc
import pytest

from support.client import until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.load import Load, check_load
from support.processes import release_directory
from support.shifted_clock import ShiftedClock
from support.stack import Sidecar
from support.waiting import wait_until

OFF = "the store's clock is off"


@pytest.fixture
def stack(make_stack):
    return make_stack(movable_clock=True, clock_skew_max_ms=2000)


def count(sidecar, text):
    return sum(text in line for line in sidecar.process.text().splitlines())


def wait_until_refused(stack, company):
    wait_until(lambda: not stack.client.is_serving(), 10, "health says NOT_SERVING")
    failure = stack.client.fails("authorize", company, "while-off", start=True)
    assert failure.code == grpc.StatusCode.UNAVAILABLE, failure


@pytest.mark.parametrize("ms", [10_000, -10_000])
def test_a_store_that_jumps_is_not_served_until_it_is_right_again(stack, ms):
    company = stack.client.funded(10_000_000_000, plan_id="enterprise")
    load = Load([stack.sidecar.address], [company], 100_000).start()
    wait_until(lambda: load.settled_count() > 30 or load.trouble, 30)
    stack.redis.set_clock_ahead(ms)
    wait_until_refused(stack, company)
    settled = load.settled_count()
    assert count(stack.sidecar, OFF) == 1
    stack.redis.set_clock_ahead(-ms)
    wait_until(stack.client.is_serving, 10, "served again by itself")
    wait_until(lambda: load.settled_count() > settled + 30 or load.trouble, 30)
    load.halt()
    load.join()
    check_invariants(stack)
    check_load(stack, load)
    assert count(stack.sidecar, "the store's clock is right again") == 1


@pytest.mark.parametrize("ms", [1_500, -1_500])
def test_a_little_off_is_served(stack, ms):
    company = stack.client.funded(10_000_000)
    stack.redis.set_clock_ahead(ms)
    wait_for_a_dozen_looks(stack)
    assert stack.client.authorize(company, "c", start=True).decision == pb.DECISION_ALLOWED
    assert count(stack.sidecar, OFF) == 0


def wait_for_a_dozen_looks(stack):
    """The ticks of sixteen partitions ask the store's clock ten times a second each: five hundred
    times are three seconds of a sidecar that looks at it four times in each."""
    def asked():
        return stack.redis.client.info("commandstats")["cmdstat_time"]["calls"]

    begun = asked()
    wait_until(lambda: asked() >= begun + 500, 30, "the sidecar has looked")


def test_a_store_that_is_off_from_the_beginning_is_never_served(make_stack):
    stack = make_stack(sidecars=0, movable_clock=True, clock_skew_max_ms=2000)
    stack.redis.set_clock_ahead(3_600_000)
    sidecar = Sidecar(stack, 1, None, stack.settings)
    stack.sidecars.append(sidecar)
    sidecar.launch()
    wait_until(lambda: OFF in sidecar.process.text(), 20, "it says why it does not serve")
    assert not sidecar.client.is_serving()
    assert not stack.redis.client.keys("cg:*"), "the store was written to"
    stack.redis.set_clock_ahead(-3_600_000)
    sidecar.wait_until_serving()


def test_a_store_that_jumps_while_postgres_is_away(postgres, stack):
    """What Postgres said last stands against the sidecar's monotonic clock."""
    company = stack.client.funded(10_000_000)
    postgres.shut(stack.database)
    try:
        stack.redis.set_clock_ahead(10_000)
        wait_until_refused(stack, company)
        stack.redis.set_clock_ahead(-10_000)
        wait_until(stack.client.is_serving, 10)
    finally:
        postgres.open(stack.database)
    until_answered(lambda: stack.client.authorize(company, "c", timeout=5))
    check_invariants(stack)


def shifted_sidecar(stack, ms):
    """An optimized build, since a preloaded library and ASan do not go together."""
    sidecar = Sidecar(stack, 9, release_directory(), stack.settings)
    clock = ShiftedClock(stack.directory / "sidecar-clock")
    clock.set(ms)
    sidecar.process.env |= clock.environment
    stack.sidecars.append(sidecar)
    return sidecar.start(), clock


@pytest.mark.parametrize("ms", [3_600_000, -3_600_000])
def test_a_sidecar_whose_own_clock_is_wrong_goes_on(postgres, stack, ms):
    company = stack.client.funded(10_000_000)
    sidecar, clock = shifted_sidecar(stack, ms)
    differs = "this sidecar's clock differs from the store's"
    wait_until(lambda: differs in sidecar.process.text(), 10, "it says so")
    assert sidecar.client.authorize(company, "c", start=True).decision == pb.DECISION_ALLOWED
    postgres.shut(stack.database)
    try:
        clock.set(2 * ms)
        settled = sidecar.client.settle(company, "c", 60_000)
        assert settled.cost_micros > 0
        wait_for_a_dozen_looks(stack)
        assert sidecar.client.is_serving()
        assert count(sidecar, OFF) == 0
    finally:
        postgres.open(stack.database)
    check_invariants(stack)


def test_zero_allows_any_clock(make_stack):
    stack = make_stack(movable_clock=True, clock_skew_max_ms=0)
    company = stack.client.funded(10_000_000)
    stack.redis.set_clock_ahead(3_600_000)
    assert stack.client.authorize(company, "c", start=True).decision == pb.DECISION_ALLOWED
    assert count(stack.sidecar, OFF) == 0
