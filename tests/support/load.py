"""Load from Python: many calls at once, each authorized, started and settled, each outcome noted.

SPDX-License-Identifier: Apache-2.0
"""

import collections
import threading
import time

import grpc

from support.client import Client
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def companies_of(client, count=8):
    """Rich ones, for a load."""
    return [client.funded(10_000_000_000, plan_id="enterprise") for _ in range(count)]


def settled(load, more=60):
    """Waits until the load has settled this many more calls."""
    goal = load.settled_count() + more
    wait_until(lambda: load.settled_count() >= goal or load.trouble, 60, f"{more} more settles")


def finish(stack, load):
    """The load ends, and everything agrees."""
    load.halt()
    load.join()
    check_invariants(stack, timeout=60)
    check_load(stack, load)


class Load:
    """`workers` threads drive calls of `companies` through `addresses`, in turn.

    A request that is answered UNAVAILABLE is repeated with the same key, at the next address,
    until it is answered: so in the end every call is settled, and `settled` says for how much.
    `alternates`: each request of a call goes to another address than the one before.
    """

    def __init__(self, addresses, companies, count, workers=16, durability=0, timeout=120,
                 alternates=False, also_retried=()):
        self.addresses = list(addresses)
        self.companies = companies
        self.count = count
        self.durability = durability
        self.timeout = timeout
        self.stride = 1 if alternates else 0
        self.retried = (*RETRIED, *also_retried)
        self.lock = threading.Lock()
        self.next = 0
        self.halted = threading.Event()
        self.settled = {}  # call id -> (company, cost, ledger id)
        self.codes = collections.Counter()
        self.trouble = []
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(workers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def halt(self):
        """No new calls; those begun are finished."""
        self.halted.set()

    def join(self):
        for thread in self.threads:
            thread.join(self.timeout)
        assert not any(thread.is_alive() for thread in self.threads), "the load does not end"
        assert not self.trouble, self.trouble[:3]
        return self

    def settled_count(self):
        return len(self.settled)

    def costs(self):
        """Of each company, what its calls cost in all."""
        sums = collections.Counter()
        for company, cost, _ in self.settled.values():
            sums[company] += cost
        return sums

    def _take(self):
        with self.lock:
            if self.next >= self.count or self.halted.is_set():
                return None
            self.next += 1
            return self.next - 1

    def _work(self, worker):
        clients = [Client(address) for address in self.addresses]
        try:
            while (number := self._take()) is not None:
                self._call(clients, worker, number)
        except Exception as error:  # reported by join(), in the test's own thread
            self.trouble.append(repr(error))
        finally:
            for client in clients:
                client.close()

    def _call(self, clients, worker, number):
        company, call = self.companies[number % len(self.companies)], f"load-{number}"
        allowed = self._ask(clients, worker + number * self.stride, "authorize", company, call, start=number % 2 == 0)
        assert allowed.decision == pb.DECISION_ALLOWED, allowed
        if number % 2:
            self._ask(clients, worker + (number + 1) * self.stride, "start", company, call)
        answer = self._ask(clients, worker + (number + 1 + number % 2) * self.stride, "settle",
                           company, call, 1 + 997 * number % 120_000, durability=self.durability, resource_type="voice_outbound",
                           destination="+14155550100")
        self.settled[call] = (company, answer.cost_micros, answer.ledger_id)

    def _ask(self, clients, turn, method, *args, **fields):
        """Until it is answered; who gives up counts as having been answered something else."""
        for attempt in range(2000):
            client = clients[(turn + attempt) % len(clients)]
            try:
                answer = getattr(client, method)(*args, timeout=2.0, **fields)
                self.codes["OK"] += 1
                return answer
            except grpc.RpcError as error:
                self.codes[error.code().name] += 1
                if error.code() not in self.retried:
                    raise
                time.sleep(0.02)  # a sidecar that is not there refuses at once
        raise AssertionError(f"{method} {args}: no answer")


def check_load(stack, load):
    """Every settled call is in the ledger once, with its cost, and the sums agree."""
    rows = stack.sql(
        "select t.reference_id, t.company_id::text, -callgate.to_micros(t.amount, 'usd'), t.entry_id"
        " from wallet_transactions t where t.type = 'usage' and t.reference_id like 'load-%'")
    in_ledger = {row[0]: tuple(row[1:]) for row in rows}
    assert len(in_ledger) == len(rows), "a call is in the ledger twice"
    wrong = {call: (said, in_ledger.get(call)) for call, said in load.settled.items()
             if in_ledger.get(call) != said}
    assert not wrong, list(wrong.items())[:5]
    assert set(in_ledger) == set(load.settled)
    sums = dict(stack.sql(
        "select company_id::text, callgate.to_micros(sum(cost), 'usd') from usage_logs"
        " where meta->>'call_id' like 'load-%' group by 1"))
    assert sums == {company: cost for company, cost in load.costs().items()}
