"""The shared check itself can fail: each corruption, in either store, is found and named.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from support.contract import pb
from support.invariants import check_invariants

# What is broken behind everybody's back, and what the check says to it.
IN_POSTGRES = {
    "amount": ("update wallet_transactions set amount = amount + 0.0001 where type = 'usage'",
               "its amounts say otherwise"),
    "version": ("update wallet_transactions set version = version + 1 where type = 'usage'",
                "has version"),
    "reference": ("update wallet_transactions set reference_id = 'else' where type = 'usage'",
                  "breaks the hash chain"),
    "row": ("delete from wallet_transactions where type = 'usage'", "not what its last entry says"),
    "usage": ("delete from usage_logs", "ledger and usage_logs differ"),
    "cost": ("update usage_logs set cost = cost + 0.0001", "ledger and usage_logs differ"),
    "key": ("delete from callgate.keys where type = 'usage'", "ledger and keys differ"),
    "quarantine": ("insert into callgate.quarantine (kind, entry_id, company_id, version, type,"
                   " amount_micros, balance_after_micros, at_ms, reason) select 'payload', 'x',"
                   " company_id, 1, 'usage', 1, 1, 1, 'bad' from wallets", "is in quarantine"),
}


def busy_stack(make_stack):
    """A settled, a running and a waiting call."""
    stack = make_stack(partitions=1)
    company = stack.client.funded(10_000_000)
    for call in ["settled", "running", "waiting"]:
        stack.client.authorize(company, call)
    stack.client.start(company, "running")
    stack.client.settle(company, "settled", 61_001, durability=pb.DURABILITY_COMMITTED)
    check_invariants(stack)
    return stack


@pytest.mark.parametrize("what", IN_POSTGRES)
def test_a_corrupt_ledger_is_found(make_stack, what):
    stack = busy_stack(make_stack)
    statement, complaint = IN_POSTGRES[what]
    stack.sql("set session_replication_role = replica")  # past the triggers
    stack.sql(statement)
    with pytest.raises(AssertionError, match=complaint):
        check_invariants(stack, timeout=1)


def test_a_ledger_that_lost_a_wallets_balance_is_found(make_stack):
    stack = busy_stack(make_stack)
    stack.sql("update wallets set balance = balance + 1")
    with pytest.raises(AssertionError, match="the store's entries are in the ledger"):
        check_invariants(stack, timeout=1)


def wallet_key(stack):
    (key,) = stack.redis.client.scan_iter(match=b"cg:{p0}:w:*")
    return key


def test_a_call_that_vanished_from_the_store_is_found(make_stack):
    stack = busy_stack(make_stack)
    stack.redis.client.hdel(wallet_key(stack), "waiting")
    with pytest.raises(AssertionError, match="its calls hold"):
        check_invariants(stack, timeout=1)


def test_a_due_set_that_forgot_a_wallet_is_found(make_stack):
    stack = busy_stack(make_stack)
    key = wallet_key(stack)
    stack.redis.client.zrem(b"cg:{p0}:due", key[-16:])
    with pytest.raises(AssertionError, match="in the due set|no wallet in the store"):
        check_invariants(stack, timeout=1)
