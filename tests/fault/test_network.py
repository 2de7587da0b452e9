"""Connections break in every way, to Redis and to Postgres.

SPDX-License-Identifier: Apache-2.0
"""

import random
import time

import grpc
import pytest

from scenario import begin, finish
from support.client import until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

# Where each of them may be cut: inside the first bytes of an answer, and far behind.
CUTS = (1, 3, 7, 40, 200, 3000)


def delay(proxy, dice):
    direction = dice.choice((proxy.up, proxy.down))
    direction.delay = dice.uniform(0.01, 0.08)
    time.sleep(0.5)


def throttle(proxy, dice):
    dice.choice((proxy.up, proxy.down)).bytes_per_s = 30_000
    time.sleep(0.7)


def stall_requests(proxy, _):
    proxy.up.stall()
    time.sleep(0.8)


def stall_answers(proxy, _):
    """Half-open: what is asked is done, and nobody hears of it."""
    proxy.down.stall()
    time.sleep(0.8)


def stall_answers_then_reset(proxy, _):
    proxy.down.stall()
    time.sleep(0.15)
    proxy.reset_all()


def cut_answers(proxy, dice):
    cut(proxy, proxy.down, dice)


def cut_requests(proxy, dice):
    cut(proxy, proxy.up, dice)


def cut(proxy, direction, dice):
    for _ in range(6):
        goal = proxy.cut + 1
        proxy.cuts_with_reset = dice.random() < 0.5
        direction.cut_after(dice.choice(CUTS) + dice.randrange(4))
        wait_until(lambda goal=goal: proxy.cut >= goal, 10, "a connection was cut")


def reset_with_pending(proxy, _):
    for _ in range(5):
        proxy.reset_all()
        time.sleep(0.05)


def refuse(proxy, _):
    proxy.refuses = True
    proxy.drop_all()
    time.sleep(0.6)


FAULTS = (delay, throttle, stall_requests, stall_answers, stall_answers_then_reset, cut_answers,
          cut_requests, reset_with_pending, refuse)


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_every_fault_of_a_connection(make_stack, seed, is_long, server):
    """Nothing of the servers is lost: not one acknowledged thing may be missing."""
    stack = make_stack(sidecars=2, partitions=4, proxied=True, appendfsync="always")
    proxy = stack.redis_proxy if server == "redis" else stack.postgres_proxy
    dice = random.Random(seed)
    traffic = begin(stack, seed)
    for fault in [*FAULTS] * (5 if is_long else 1):
        print(f"{server}: {fault.__name__}")
        fault(proxy, dice)
        proxy.heal()
        traffic.wait_for(50, timeout=60)
    finish(stack, traffic, more=f"{proxy.cut} connections cut, ")


@pytest.mark.long
def test_both_at_once(make_stack, seed, is_long):
    stack = make_stack(sidecars=2, partitions=4, proxied=True, appendfsync="always")
    dice = random.Random(seed)
    traffic = begin(stack, seed)
    for _ in range(20 if is_long else 4):
        chosen = dice.sample(FAULTS, 2)
        print(", ".join(fault.__name__ for fault in chosen))
        for proxy, fault in zip(stack.proxies, chosen):
            fault(proxy, dice)
        for proxy in stack.proxies:
            proxy.heal()
        traffic.wait_for(50, timeout=60)
    finish(stack, traffic)


def test_a_commit_whose_answer_is_lost(make_stack):
    """The flush is in the ledger and its sidecar does not know: the cursor tells it."""
    stack = make_stack(partitions=1, proxied=True)
    client = stack.client
    company = client.funded(0)
    # Answered by the sidecar that flushed it: no answer of a flush is on its way any more.
    client.credit(company, 10_000_000, durability=pb.DURABILITY_COMMITTED)
    client.authorize(company, "c", start=True)
    stack.postgres_proxy.down.stall()
    settled = client.gate.Settle.future(pb.SettleRequest(
        company_id=company, call_id="c", duration_ms=60_000, durability=pb.DURABILITY_COMMITTED),
        timeout=20)
    count = "select count(*) from wallet_transactions where reference_id = 'c'"
    wait_until(lambda: stack.value(count) == 1, 10, "Postgres has committed")
    stack.postgres_proxy.reset_all()
    stack.postgres_proxy.heal()
    try:
        answer = settled.result()
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        answer = until_answered(lambda: client.settle(company, "c", 60_000,
                                                      durability=pb.DURABILITY_COMMITTED))
        assert answer.replayed
    assert stack.sql("select entry_id from wallet_transactions where reference_id = 'c'") == [
        (answer.ledger_id,)]
    check_invariants(stack)
