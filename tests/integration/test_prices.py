"""The price table of the meter, through Settle, Postgres and `callgate explain` alike.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import subprocess

import pytest

from support.client import new_reference
from support.contract import pb
from support.processes import program

# rate, connect fee, minimum, increment, duration -> cost, billed
TABLE = [
    (90_000, 0, 0, 1_000, 61_001, 93_000, 62_000),
    (90_000, 0, 0, 1_000, 1, 1_500, 1_000),
    (100_000, 20_000, 60_000, 6_000, 7_000, 120_000, 60_000),
    (100_000, 0, 0, 6_000, 7_000, 20_000, 12_000),
    (50_000, 0, 0, 1_000, 1_000, 834, 1_000),
    (70_000, 5_000, 30_000, 30_000, 0, 0, 0),
    (2_600_123_457, 0, 0, 1, 15_751_779, 682_609_501_124, 15_751_779),
]


def numbers_in(value):
    """Every integer anywhere in a JSON document."""
    if isinstance(value, dict):
        return set().union(*map(numbers_in, value.values()), set())
    if isinstance(value, list):
        return set().union(*map(numbers_in, value), set())
    if isinstance(value, int) and not isinstance(value, bool):
        return {value}
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return {int(value)}
    return set()


@pytest.mark.parametrize("rate, fee, minimum, increment, duration, cost, billed", TABLE)
def test_a_row_of_the_table(shared, shared_stack, rate, fee, minimum, increment, duration, cost,
                            billed):
    plan = new_reference("price")[:40]
    shared_stack.add_plan(plan, rate=(rate, fee, minimum, increment), longest_call_ms=36_000_000,
                          credit_unlimited=True)
    company, call = shared.funded(0, plan_id=plan), new_reference("call")
    allowed = shared.authorize(company, call)
    assert allowed.decision == pb.DECISION_ALLOWED
    assert allowed.price == pb.Price(rate_micros_per_minute=rate, connect_fee_micros=fee,
                                     minimum_ms=minimum, increment_ms=increment, currency="usd")
    settled = shared.settle(company, call, duration, durability=pb.DURABILITY_COMMITTED)
    assert (settled.cost_micros, settled.billed_ms, settled.balance_micros) == (cost, billed, -cost)

    (row,) = shared_stack.sql(
        "select callgate.to_micros(t.amount, 'usd'), callgate.to_micros(u.cost, 'usd'),"
        "       (u.meta->>'billed_ms')::bigint, callgate.to_micros(w.balance, 'usd'),"
        "       t.amount * 10000, u.quantity = round(%s / 60000.0, 12)"
        "  from wallet_transactions t join wallets w on w.id = t.wallet_id"
        "  join usage_logs u on u.meta->>'entry_id' = t.entry_id"
        " where t.company_id = %s and t.reference_id = %s", [billed, company, call])
    assert row == (-cost, cost, billed, -cost, -cost, True)

    explained = subprocess.run(
        [program("callgate"), "explain", "--company", company, "--json", call], check=True,
        capture_output=True, text=True, env={**os.environ, **shared_stack.environment()}).stdout
    assert {cost, duration, billed, rate, fee, minimum, increment} <= numbers_in(
        json.loads(explained)), explained
