"""Wallets.Watch on a real stack: nothing missed, in order, bounded.

SPDX-License-Identifier: Apache-2.0
"""

import collections
import random
import threading
import time

import grpc
import pytest

from support.client import Client, new_company, new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until
from support.watcher import Watcher

PLENTY = 1_000_000_000


def test_a_calls_life_is_told_in_order(make_stack):
    stack = make_stack(sidecars=2, lifecycle_events="1")
    client = stack.client
    company = client.funded(PLENTY)
    watcher = Watcher(stack.sidecars[1].client, company).begin()
    client.authorize(company, "a", meta={"k": "v"})
    client.start(company, "a")
    client.stop(company, "a")
    settled = client.settle(company, "a", 1_000)
    client.authorize(company, "b")
    client.cancel(company, "b")
    client.charge(company, 5, reference="rent")
    client.credit(company, 7, reference="bonus", type=pb.ENTRY_TYPE_BONUS)
    client.update_wallet(company, frozen=True)
    watcher.wait_for(1, pb.EVENT_TYPE_WALLET_UPDATED)
    names = [pb.EventType.Name(e.type)[len("EVENT_TYPE_"):] for e in watcher.events]
    assert names == ["CALL_AUTHORIZED", "CALL_STARTED", "CALL_STOPPED", "CALL_SETTLED", "CALL_AUTHORIZED",
                     "CALL_CANCELLED", "CHARGED", "CREDITED", "WALLET_UPDATED"]
    assert [e.at_ms for e in watcher.events] == sorted(e.at_ms for e in watcher.events)
    assert len({e.id for e in watcher.events}) == len(names)
    first, told = watcher.events[0], watcher.events[3]
    assert dict(first.meta) == {"k": "v"} and first.amount_micros > 0
    assert (told.ledger_id, told.amount_micros, told.call_id) == (settled.ledger_id, settled.cost_micros, "a")
    assert watcher.events[6].reference_id == "rent" and watcher.events[7].entry_type == pb.ENTRY_TYPE_BONUS
    check_invariants(stack)


def test_lifecycle_events_are_not_written_unless_asked_for(shared):
    company = shared.funded(PLENTY)
    watcher = Watcher(shared, company).begin()
    shared.authorize(company, "a", start=True)
    shared.settle(company, "a", 1_000)
    watcher.wait_for(1, pb.EVENT_TYPE_CALL_SETTLED)
    assert [e.type for e in watcher.events] == [pb.EVENT_TYPE_CALL_SETTLED]


def test_types_and_companies_are_filtered(shared):
    mine, other = shared.funded(PLENTY), shared.funded(PLENTY)
    only = Watcher(shared, mine, types=[pb.EVENT_TYPE_CHARGED]).begin()
    everything = Watcher(shared).begin()
    for company in (mine, other):
        shared.credit(company, 5)
        shared.charge(company, 5)
    everything.wait_for(2, pb.EVENT_TYPE_CHARGED)
    only.wait_for(1, pb.EVENT_TYPE_CHARGED)
    assert [(e.type, e.company_id) for e in only.events] == [(pb.EVENT_TYPE_CHARGED, mine)]
    assert {e.company_id for e in everything.events} >= {mine, other}


def test_denials_are_told_once_a_second_and_counted(shared):
    company = shared.funded(0)
    watcher = Watcher(shared, company).begin()
    for n in range(30):
        shared.authorize(company, f"c{n}")
    def told():
        return watcher.of(pb.EVENT_TYPE_CALL_DENIED)

    def counted():  # those that were left out at last are told of without a call
        return sum(bool(e.call_id) + e.repeat for e in told())
    wait_until(lambda: counted() >= 30, 10)
    assert counted() == 30
    assert {e.decision for e in told()} == {pb.DECISION_DENIED_INSUFFICIENT_FUNDS}
    gaps = [b.at_ms - a.at_ms for a, b in zip(told(), told()[1:])]
    assert all(gap >= 1_000 for gap in gaps)


def test_heartbeats_come_at_once_and_then_regularly(make_stack):
    stack = make_stack(heartbeat_ms="200")
    watcher = Watcher(stack.client).begin()
    wait_until(lambda: watcher.heartbeats >= 5, 5)


@pytest.mark.parametrize("token", ["x", "AAAA", "!" * 50, "A" * 4096, "A" * 4097])
def test_a_token_that_is_none_is_refused(shared, token):
    with pytest.raises(grpc.RpcError) as caught:
        next(shared.wallets.Watch(pb.WatchRequest(resume_token=token), timeout=10))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "resume_token" in caught.value.details()


def test_a_malformed_request_names_its_field(shared):
    for request, field in [(pb.WatchRequest(company_id="x"), "company_id"),
                           (pb.WatchRequest(types=[0]), "types"), (pb.WatchRequest(types=[99]), "types")]:
        with pytest.raises(grpc.RpcError) as caught:
            next(shared.wallets.Watch(request, timeout=10))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field in caught.value.details()


class Traffic:
    """Charges of many companies, without an end, noting each one's entry in order."""

    def __init__(self, clients, companies):
        self.clients, self.companies = clients, companies
        self.done = collections.defaultdict(list)  # company -> ledger ids, in order
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        choose = random.Random(7)
        while not self.ended.is_set():
            company = choose.choice(self.companies)
            reference = new_reference()
            while True:  # the same key until it is answered
                try:
                    answer = choose.choice(self.clients).charge(company, 1, reference=reference, timeout=5)
                    break
                except grpc.RpcError:
                    time.sleep(0.02)
            self.done[company].append(answer.ledger_id)

    def stop(self):
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.done


def check_complete(done, watchers):
    """What they were told, all together and in the order of their coming, is what was done."""
    told, seen = collections.defaultdict(list), set()
    for watcher in watchers:
        for event in watcher.of(pb.EVENT_TYPE_CHARGED):
            if event.id not in seen:
                seen.add(event.id)
                told[event.company_id].append(event.ledger_id)
    assert told == done


def test_a_killed_watcher_misses_nothing_over_a_restart_of_its_sidecar(make_stack):
    stack = make_stack(sidecars=2)
    here, there = stack.sidecars
    companies = [here.client.funded(PLENTY) for _ in range(20)]
    watchers = [Watcher(here.client).begin()]
    traffic = Traffic([there.client], companies)
    for victim in [here, here, there]:
        watchers[-1].wait_for(20, pb.EVENT_TYPE_CHARGED)
        watchers[-1].kill()
        victim.restart()
        # Resumed elsewhere, with another process's token.
        other = there if victim is here else here
        watchers.append(Watcher(other.client, token=watchers[-1].token))
        watchers[-1].wait_for(20, pb.EVENT_TYPE_CHARGED)
        watchers[-1].kill()
        watchers.append(Watcher(victim.client, token=watchers[-1].token))
    done = traffic.stop()
    total = sum(map(len, done.values()))
    wait_until(lambda: len({e.id for w in watchers for e in w.of(pb.EVENT_TYPE_CHARGED)}) >= total, 20)
    check_complete(done, watchers)
    check_invariants(stack)


def test_a_sidecar_that_ends_in_order_sends_its_watchers_elsewhere(make_stack):
    stack = make_stack(sidecars=2)
    here, there = stack.sidecars
    company = here.client.funded(PLENTY)
    watcher = Watcher(here.client, company).begin()
    assert here.terminate() == 0
    assert watcher.wait_until_ended() == grpc.StatusCode.UNAVAILABLE
    there.client.charge(company, 5)
    resumed = Watcher(there.client, company, token=watcher.token)
    resumed.wait_for(1, pb.EVENT_TYPE_CHARGED)


def test_watchers_go_on_when_the_store_comes_back(make_stack):
    stack = make_stack()
    company = stack.client.funded(PLENTY)
    watcher = Watcher(stack.client, company).begin()
    stack.client.charge(company, 1)
    watcher.wait_for(1, pb.EVENT_TYPE_CHARGED)
    stack.redis.restart()
    until_answered(lambda: stack.client.charge(company, 2, reference="after"))
    def goes_on():
        if watcher.status is None:
            return watcher.of(pb.EVENT_TYPE_CHARGED)[-1].reference_id == "after"
        # The store lost its tail: it says so, and the watcher reads anew.
        return watcher.status == grpc.StatusCode.OUT_OF_RANGE
    wait_until(goes_on, 20)


def test_a_token_of_a_history_that_is_gone_is_too_old(make_stack):
    stack = make_stack()
    company = stack.client.funded(PLENTY)
    watcher = Watcher(stack.client, company).begin()
    stack.client.charge(company, 1)
    watcher.wait_for(1, pb.EVENT_TYPE_CHARGED)
    token = wait_until(lambda: watcher.token, 5)
    stack.redis.client.flushall()
    assert watcher.wait_until_ended() == grpc.StatusCode.OUT_OF_RANGE
    again = Watcher(stack.client, company, token=token)
    assert again.wait_until_ended() == grpc.StatusCode.OUT_OF_RANGE
    fresh = Watcher(stack.client, company).begin()
    until_answered(lambda: stack.client.charge(company, 2, reference="anew"))
    fresh.wait_for(1, pb.EVENT_TYPE_CHARGED)


def test_events_older_than_what_is_kept_are_too_old(make_stack):
    stack = make_stack(events_keep="200", watch_kept="64", lifecycle_events="1")
    client = stack.client
    company = client.funded(PLENTY)
    watcher = Watcher(client, company).begin()
    watcher.kill()
    for n in range(300):
        client.authorize(company, f"c{n}")
        client.cancel(company, f"c{n}")
    wait_until(lambda: Watcher(client, company, token=watcher.token).wait_until_ended()
               == grpc.StatusCode.OUT_OF_RANGE, 20)


def test_a_watcher_that_does_not_read_is_ended_and_the_others_go_on(make_stack):
    stack = make_stack(watch_kept="500", watch_slow_ms="2000", lifecycle_events="1")
    client = stack.client
    company = client.funded(PLENTY)
    slow_client = Client(stack.sidecar.address, options=[
        ("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)])
    slow = slow_client.wallets.Watch(pb.WatchRequest(company_id=company))
    next(slow)
    good = Watcher(client, company).begin()
    meta = {"filler": "x" * 4_000}
    for n in range(1_500):
        client.authorize(company, f"c{n}", meta=meta, start=False)
        client.cancel(company, f"c{n}")
        if n % 100 == 99:
            # However slowly all of this goes: who reads never falls out of the 500 that are kept.
            good.wait_for(2 * (n + 1), pb.EVENT_TYPE_CALL_AUTHORIZED, pb.EVENT_TYPE_CALL_CANCELLED, timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        for _ in slow:
            pass
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    slow_client.close()
    assert good.status is None


def test_thousands_of_watchers_at_once(make_stack):
    stack = make_stack()
    companies = [stack.client.funded(PLENTY) for _ in range(20)]
    streams = []
    for n in range(2_000):
        stream = stack.client.wallets.Watch(pb.WatchRequest(company_id=companies[n % 20]))
        streams.append(stream)
    # Each has its first word, so each is there.
    for stream in streams:
        next(stream)
    tokens = 0
    begun = time.monotonic()
    for company in companies:
        stack.client.charge(company, 3)
    for stream in streams:
        for answer in stream:
            tokens += bool(answer.resume_token)
            if answer.HasField("event") and answer.event.type == pb.EVENT_TYPE_CHARGED:
                break
    assert time.monotonic() - begun < 60 and tokens
    for stream in streams:
        stream.cancel()
    assert stack.client.charge(companies[0], 1).ledger_id


def test_who_watches_an_unknown_company_waits_for_it(shared):
    company = new_company()
    watcher = Watcher(shared, company).begin()
    shared.create_wallet(company)
    assert watcher.wait_for(1, pb.EVENT_TYPE_WALLET_UPDATED)[0].company_id == company
