"""Records in the store's streams that nobody can read: said aloud, and in nobody's way.

They are of a library to come, or of somebody who wrote past the function library.

SPDX-License-Identifier: Apache-2.0
"""

import uuid

from support.contract import pb
from support.invariants import wait_until_drained
from support.waiting import wait_until
from support.watcher import Watcher

PLENTY = 1_000_000_000


def stream_of(stack, company, name):
    """The key of its partition's stream."""
    wallet = b":w:" + uuid.UUID(company).bytes
    key = next(k for k in stack.redis.client.scan_iter() if k.endswith(wallet))
    return key[:-len(wallet)] + b":" + name


def spoil(stack, company, name):
    """Behind the last record of the stream; answers the key and the record's id."""
    key = stream_of(stack, company, name)
    return key, stack.redis.client.xadd(key, {"e": b"not one of ours"}, id="1-*")


def alarms(stack, words):
    return [line for line in stack.sidecar.process.text().splitlines() if words in line]


def test_an_event_that_cannot_be_read_is_left_out_and_said(make_stack):
    stack = make_stack(partitions="2", lifecycle_events="1")
    client = stack.client
    company = client.funded(PLENTY)
    watcher = Watcher(client, company).begin()
    client.authorize(company, "before")
    watcher.wait_for(1, pb.EVENT_TYPE_CALL_AUTHORIZED)
    token = watcher.token
    for n in range(3):
        spoil(stack, company, b"events")
        client.authorize(company, f"after-{n}")
    told = watcher.wait_for(4, pb.EVENT_TYPE_CALL_AUTHORIZED)
    assert [e.call_id for e in told] == ["before", "after-0", "after-1", "after-2"]
    resumed = Watcher(client, company, token=token)
    assert [e.call_id for e in resumed.wait_for(3, pb.EVENT_TYPE_CALL_AUTHORIZED)] == [
        "after-0", "after-1", "after-2"]
    assert len(alarms(stack, "watchers are not told of them")) == 1


def test_an_entry_that_cannot_be_read_stops_the_flush_and_nothing_else(make_stack):
    stack = make_stack(partitions="1", flush_interval_ms="1000")  # all three in one batch
    client = stack.client
    company = client.funded(PLENTY)
    watcher = Watcher(client, company).begin()
    stack.wait_until_flushed(company)
    client.charge(company, 1)
    key, record = spoil(stack, company, b"ledger")
    client.charge(company, 2)
    # Watchers hear of what stands behind it; the ledger takes only what stands before it.
    watcher.wait_for(2, pb.EVENT_TYPE_CHARGED)
    wait_until(lambda: stack.ledger_balance(company) == PLENTY - 1, 20)
    wait_until(lambda: alarms(stack, "an entry in the store cannot be read"), 20)
    assert stack.ledger_balance(company) == PLENTY - 1
    # What an operator does about it.
    stack.redis.client.xdel(key, record)
    wait_until_drained(stack)
    assert len(alarms(stack, "an entry in the store cannot be read")) <= 3
