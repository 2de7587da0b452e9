"""Traffic for fault tests: many threads that authorize, start, stop, settle, cancel, credit and
charge, over several sidecars, everything noted in a History.  What is random comes from a seed.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import random
import threading
import time

from support.client import Client, new_company, until_answered
from support.contract import pb
from support.history import ACCEPTED, COMMITTED, History, Request, cost_of
from support.waiting import wait_until

PLAN = "enterprise"  # unlimited credit: every call is allowed, so nothing depends on the order
CALL = (("destination", "+14155550100"), ("resource_type", "voice_outbound"))
CREDITS = (pb.ENTRY_TYPE_TOP_UP, pb.ENTRY_TYPE_BONUS, pb.ENTRY_TYPE_REFUND,
           pb.ENTRY_TYPE_ADJUSTMENT, pb.ENTRY_TYPE_MONTHLY_GRANT)
PACE = 0.002  # what is under test has the machine's cores, not the clients
PAUSE = 0.02  # a sidecar that is not there refuses at once


class Traffic:
    """`durability`: of all settles, credits and charges; else each draws its own."""

    def __init__(self, stack, seed, workers=8, companies=8, durability=None, unknown_codes=(),
                 timeout=3.0):
        self.stack, self.seed, self.durability, self.timeout = stack, seed, durability, timeout
        self.history = History(unknown_codes)
        self.companies = [new_company() for _ in range(companies)]
        for company in self.companies:
            stack.client.create_wallet(company, plan_id=PLAN)
        # A busy machine may keep the store from an answer within its 250 ms.
        price = until_answered(lambda: stack.client.authorize(
            self.companies[0], "", validate_only=True)).price
        self.price = (price.rate_micros_per_minute, price.connect_fee_micros, price.minimum_ms,
                      price.increment_ms)
        # Company by company to every sidecar: their terms are then cached, as in daily life.
        for sidecar in stack.sidecars:
            for company in self.companies:
                until_answered(lambda c=company, s=sidecar: s.client.authorize(
                    c, "", validate_only=True))
        self.addresses = [sidecar.address for sidecar in stack.sidecars]
        self.halted = threading.Event()
        self.trouble = []
        self.threads = [threading.Thread(target=self._work, args=(n,), daemon=True)
                        for n in range(workers)]
        stack.before_stop.append(self.halted.set)

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def ok_count(self):
        return self.history.ok_count()

    def wait_for(self, more, timeout=30):
        """Until so many more were answered: it goes on, whatever was broken."""
        goal = self.ok_count() + more
        wait_until(lambda: self.ok_count() >= goal or self.trouble, timeout,
                   lambda: f"{more} more answers ({self.ok_count()} of {goal}; seed {self.seed})")

    def halt(self):
        self.halted.set()
        for thread in self.threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self.threads), "the traffic does not end"
        assert not self.trouble, self.trouble[:3]

    def _work(self, number):
        worker = _Worker(self, number)
        try:
            while not self.halted.is_set():
                worker.step()
                time.sleep(PACE)
        except Exception as error:  # reported by halt(), in the test's own thread
            self.trouble.append(repr(error))
        finally:
            worker.close()


class _Worker:
    def __init__(self, traffic, number):
        self.traffic, self.history = traffic, traffic.history
        self.random = random.Random(f"{traffic.seed}-{number}")
        self.clients = [Client(address) for address in traffic.addresses]
        self.prefix, self.count = f"w{number}", 0
        self.firm = []  # answered, and nothing may take it back
        self.steps = [(self.call, 60), (self.credit, 12), (self.charge, 12), (self.again, 8),
                      (self.refused, 8)]

    def close(self):
        for client in self.clients:
            client.close()

    def step(self):
        names, weights = zip(*self.steps)
        self.random.choices(names, weights)[0]()

    def name(self, what):
        self.count += 1
        return f"{what}-{self.prefix}-{self.count}"

    def ask(self, request, durability=0):
        """At a sidecar; where nobody can tell how it ended mostly again, at the next ones."""
        via = self.random.randrange(len(self.clients))
        tries = self.random.choice((1, 3, 30))
        for attempt in range(tries):
            at = (via + attempt) % len(self.clients)
            if attempt == 0 and self.random.random() < 0.1:
                op = self.twins(request, durability)
            else:
                op = self.history.invoke(self.clients[at], at, request, durability,
                                         self.traffic.timeout)
            if op.outcome != "unknown":
                break
            time.sleep(PAUSE)
            if self.traffic.halted.is_set():
                break
        return op

    def twins(self, request, durability):
        """At every sidecar at the same moment."""
        begun = [self.history.begin(client, via, request, durability, self.traffic.timeout)
                 for via, client in enumerate(self.clients)]
        ops = [self.history.end(*each) for each in begun]
        return next((op for op in ops if op.outcome == "ok"), ops[-1])

    def pay(self, request):
        durability = self.traffic.durability or self.random.choice((ACCEPTED, COMMITTED))
        op = self.ask(request, durability)
        if op.outcome == "ok" and (durability == COMMITTED or request.method == "credit"):
            self.firm.append(request)
            del self.firm[:-50]

    def company(self):
        return self.random.choice(self.traffic.companies)

    def settle_of(self, company, call, duration_ms):
        return Request("settle", company, call, (*CALL, ("duration_ms", duration_ms)),
                       -cost_of(self.traffic.price, duration_ms))

    def call(self):
        company, call = self.company(), self.name("call")
        starts = self.random.random() < 0.5
        self.ask(Request("authorize", company, call, (*CALL, ("start", starts))))
        if not starts and self.random.random() < 0.15:
            self.ask(Request("cancel", company, call))
            return
        if not starts and self.random.random() < 0.7:
            self.ask(Request("start", company, call))
        if self.random.random() < 0.2:
            self.ask(Request("stop", company, call))
        duration_ms = self.random.choice((0, self.random.randrange(1, 120_000)))
        self.pay(self.settle_of(company, call, duration_ms))

    def credit(self):
        type_ = self.random.choice(CREDITS)
        amount = self.random.randrange(1, 50_000_000)
        if type_ in (pb.ENTRY_TYPE_REFUND, pb.ENTRY_TYPE_ADJUSTMENT) and self.random.random() < 0.5:
            amount = -amount
        self.pay(Request("credit", self.company(), self.name("pay"),
                         (("amount_micros", amount), ("type", type_)), amount))

    def charge(self):
        amount = self.random.randrange(1, 5_000_000)
        self.pay(Request("charge", self.company(), self.name("rent"),
                         (("amount_micros", amount), ("quantity", 1),
                          ("resource_type", "phone_number_rental")), -amount))

    def again(self):
        """A repeat of what was answered."""
        with contextlib.suppress(IndexError):
            self.ask(self.random.choice(self.firm), self.random.choice((ACCEPTED, COMMITTED)))

    def refused(self):
        """What must be refused, and must have no effect."""
        company, name = self.company(), self.name("no")
        kinds = [
            Request("credit", company, name, (("amount_micros", 0), ("type", pb.ENTRY_TYPE_BONUS))),
            Request("settle", company, name, (("duration_ms", 60_000),)),
            Request("settle", company, name, (*CALL, ("as_metered", True))),
            Request("charge", company, name, (("amount_micros", -5), ("quantity", 1),
                                              ("resource_type", "phone_number_rental"))),
        ]
        if self.firm:
            kinds += [self.otherwise(self.random.choice(self.firm))] * 4
        self.ask(self.random.choice(kinds))

    def otherwise(self, request):
        """Under the same key, with other content."""
        if request.method == "settle":
            return self.settle_of(request.company, request.name,
                                  dict(request.fields)["duration_ms"] + 60_000)
        sign = 1 if request.amount > 0 else -1
        fields = dict(request.fields)
        fields["amount_micros"] += sign if request.method == "credit" else 1
        return Request(request.method, request.company, request.name, tuple(sorted(fields.items())),
                       request.amount + sign)
