"""A recorded history of everything that was asked and answered, and its check against the ledger.

After Jepsen: many clients ask over several sidecars while parts of the system die; each
invocation is noted with how it ended.  `ok`: answered; `refused`: answered with an error that says
that nothing happened; `unknown`: nobody can tell (UNAVAILABLE, a deadline, a broken connection).
At the end every request that is not certain to have been refused is sent once more with its key,
until it is answered: that is the one true answer, which all earlier ones and the ledger must
agree with.

SPDX-License-Identifier: Apache-2.0
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import threading
import time

import grpc

from support.contract import pb
from support.waiting import wait_until

UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.CANCELLED)
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
           grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS,
           grpc.StatusCode.RESOURCE_EXHAUSTED)

COMMITTED, ACCEPTED = pb.DURABILITY_COMMITTED, pb.DURABILITY_ACCEPTED

METHODS = {
    "authorize": ("gate", "Authorize", pb.AuthorizeRequest),
    "start": ("gate", "Start", pb.StartRequest),
    "stop": ("gate", "Stop", pb.StopRequest),
    "cancel": ("gate", "Cancel", pb.CancelRequest),
    "settle": ("gate", "Settle", pb.SettleRequest),
    "credit": ("wallets", "Credit", pb.CreditRequest),
    "charge": ("wallets", "Charge", pb.ChargeRequest),
}
MONEY = ("settle", "credit", "charge")


def cost_of(price, duration_ms):
    """The contract's formula: (rate per minute, connect fee, minimum, increment)."""
    rate, fee, minimum, increment = price
    if duration_ms == 0:
        return 0
    billed = max(minimum, -(-duration_ms // increment) * increment)
    return fee + -(-rate * billed // 60_000)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked; the same request sent twice is a repeat."""

    method: str
    company: str
    name: str  # call id or reference
    fields: tuple = ()  # (name, value), ...
    amount: int = 0  # what it does to the balance, by the test's own arithmetic

    @property
    def key(self):
        """(company, type, reference) of the ledger; of what moves no money, the call."""
        if self.method == "credit":
            return self.company, pb.EntryType.Name(dict(self.fields)["type"])[11:].lower(), self.name
        return self.company, "usage" if self.method in MONEY else "call", self.name

    def message(self, durability=0):
        kind = METHODS[self.method][2]
        names = kind.DESCRIPTOR.fields_by_name
        fields = {"company_id": self.company, **dict(self.fields)}
        fields["call_id" if "call_id" in names else "reference_id"] = self.name
        if durability and "durability" in names:
            fields["durability"] = durability
        return kind(**fields)

    def stub(self, client):
        service, method, _ = METHODS[self.method]
        return getattr(getattr(client, service), method)


@dataclasses.dataclass
class Op:
    """One invocation."""

    number: int
    request: Request
    durability: int
    via: int  # which sidecar
    began: float
    ended: float = 0.0
    outcome: str = ""  # ok, refused, unknown
    code: str = "OK"
    is_final: bool = False
    ledger_id: str = ""
    amount: int | None = None  # by the answer
    replayed: bool = False
    corrected: int = 0

    def __str__(self):
        said = self.ledger_id + (" replayed" if self.replayed else "") if self.outcome == "ok" else self.code
        return (f"#{self.number} {self.request.method} {self.request.name} {self.request.amount}"
                f" {'COMMITTED' if self.durability == COMMITTED else 'ACCEPTED'} via {self.via}"
                f" at {self.began:.3f}..{self.ended:.3f}: {self.outcome} {said}"
                + (" (the last)" if self.is_final else ""))


class History:
    """Thread-safe.  `unknown_codes`: further statuses that say nothing, where a scenario makes
    them."""

    def __init__(self, unknown_codes=()):
        self.ops = []
        self.numbers = itertools.count()
        self.lock = threading.Lock()
        self.unknown_codes = (*UNKNOWN, *unknown_codes)
        self.counts = collections.Counter()
        self.surprises = []

    def invoke(self, client, via, request, durability=0, timeout=3.0, is_final=False):
        op, answer = self.begin(client, via, request, durability, timeout, is_final)
        return self.end(op, answer)

    def begin(self, client, via, request, durability=0, timeout=3.0, is_final=False):
        op = Op(next(self.numbers), request, durability or ACCEPTED, via, time.monotonic(),
                is_final=is_final)
        return op, request.stub(client).future(request.message(durability), timeout=timeout)

    def end(self, op, answer):
        try:
            self._take(op, answer.result())
        except grpc.RpcError as error:
            op.code = error.code().name
            op.outcome = "unknown" if error.code() in self.unknown_codes else "refused"
            if error.code() not in (*self.unknown_codes, *REFUSED):
                self.surprises.append(f"{op}: {error.details()}")
        op.ended = time.monotonic()
        with self.lock:
            self.ops.append(op)
            self.counts[op.outcome] += 1
        return op

    @staticmethod
    def _take(op, answer):
        op.outcome = "ok"
        op.replayed = answer.replayed
        if op.request.method not in MONEY:
            return
        op.ledger_id = answer.ledger_id
        if op.request.method == "settle":
            op.amount, op.corrected = -answer.cost_micros, answer.corrected_micros
        else:
            op.amount = op.request.amount  # of another one there is no answer

    def ok_count(self):
        return self.counts["ok"]

    def resolve(self, clients, timeout=60, workers=8):
        """The same keys once more, over all sidecars, until each has its answer."""
        asked = {}
        for op in self.ops:
            if op.request.method in (*MONEY, "cancel") and not (
                    op.outcome == "refused" and op.request not in asked):
                asked[op.request] = op
        # In the order of their first invocation: a later one may have built on it.
        requests = list(asked)

        def once(numbered):
            number, request = numbered
            def answered():
                via = (number + next(tries)) % len(clients)
                op = self.invoke(clients[via], via, request, COMMITTED, 5.0, is_final=True)
                assert op.outcome != "unknown", str(op)
                return op
            tries = itertools.count()
            return wait_until(answered, timeout, f"the last answer to {request}", every=0.05)

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return list(pool.map(once, enumerate(requests)))


@dataclasses.dataclass
class Verdict:
    differences: list
    operations: int = 0
    unknown: int = 0
    had_happened: int = 0
    lost: int = 0  # accepted, gone with the store's tail, made again by the last repeat
    duplicates: int = 0

    def __str__(self):
        return (f"{self.operations} operations, {self.unknown} unknown outcomes resolved"
                f" ({self.had_happened} had happened), {self.lost} accepted ones lost with the tail and"
                f" made again, {self.duplicates} duplicates taken back,"
                f" {len(self.differences)} differences")


ROWS = """
    select t.entry_id, t.company_id::text, t.type, t.reference_id,
           callgate.to_micros(t.amount, w.currency)
      from wallet_transactions t join wallets w on w.id = t.wallet_id
     where t.company_id = any(%s::uuid[])
"""

BALANCES = """
    select company_id::text, callgate.to_micros(balance, currency) from wallets
     where company_id = any(%s::uuid[])
"""


def judge(ops, rows, balances, may_lose_tail=False, duplicates_max=0):
    """The Verdict on a history.  `rows`: (entry id, company, type, reference, micros) of the
    ledger; `balances`: by company.

    `may_lose_tail`: the scenario took acknowledged writes away from the store; what was answered
    ACCEPTED for a call or a charge may then be missing until it is asked for again.
    """
    verdict = Verdict([], operations=len(ops))
    by_key = collections.defaultdict(list)
    for op in sorted(ops, key=lambda op: (op.ended, op.number)):
        by_key[op.request.key].append(op)
    ledger = collections.defaultdict(list)
    for entry, company, type_, reference, micros in rows:
        ledger[company, type_, reference].append((entry, micros))

    sums = collections.Counter()
    for key, own in by_key.items():
        if key[1] == "call":
            continue
        found = ledger.pop(key, [])
        correction = ledger.pop((key[0], "adjustment", f"correction:{key[2]}"), [])
        amount, faults = _judge_key(own, found, correction, may_lose_tail)
        sums[key[0]] += amount
        _count(verdict, own)
        story = "".join(f"\n    {line}" for line in (*own, f"in the ledger: {found} {correction}"))
        verdict.differences += [f"{key}: {fault}{story}" for fault in faults]
    _judge_duplicates(verdict, ledger, duplicates_max)
    verdict.differences += [f"{key}: in the ledger as {found}, and nobody asked for it"
                            for key, found in ledger.items()]
    verdict.differences += [
        f"{company}: the balance is {balance}, what was asked adds up to {sums[company]}"
        for company, balance in balances.items() if balance != sums[company]]
    return verdict


def _judge_key(ops, found, correction, may_lose_tail):
    """What its requests have moved, and what is wrong with them."""
    ok = [op for op in ops if op.outcome == "ok"]
    binding = [op for op in ok if _binds(op, may_lose_tail)]
    # What is refused in the end, as its key has other content by then, has left nothing behind.
    decided = {op.request for op in ops if op.is_final and op.outcome != "unknown"}
    faults = [f"#{op.number} was never resolved" for op in ops
              if op.outcome != "refused" and op.request not in decided]
    faults += [f"#{op.number} answers {op.amount}, it asked for {op.request.amount}"
               for op in ok if op.amount != op.request.amount]
    if not binding:
        if found or correction:
            faults.append("was refused, and is in the ledger")
        return 0, faults
    amounts = {op.request.amount for op in binding}
    if len(amounts) > 1:
        faults.append(f"was answered for different amounts: {sorted(amounts)}")
    if len(found) != 1:
        faults.append(f"is in the ledger {len(found)} times")
    amount = binding[-1].request.amount
    booked = sum(micros for _, micros in (*found, *correction))
    if booked != amount:
        faults.append(f"is in the ledger with {booked}, answered with {amount}")
    entries = {entry for entry, _ in (*found, *correction)}
    faults += [f"#{op.number} was answered with entry {op.ledger_id}" for op in binding
               if op.ledger_id not in entries and not _entry_may_differ(op, may_lose_tail)]
    faults += _made_twice(binding, may_lose_tail)
    return amount, faults


def _binds(op, may_lose_tail):
    """Whether nothing may take this answer back."""
    return (not may_lose_tail or op.durability == COMMITTED or op.is_final
            or op.request.method == "credit")


def _entry_may_differ(op, may_lose_tail):
    """The receipt of a credit is applied again where the store lost its entry."""
    return may_lose_tail and op.durability != COMMITTED


def _made_twice(binding, may_lose_tail):
    """What was answered before this one was asked leaves it nothing to do but to repeat."""
    firm = [op for op in binding if not _entry_may_differ(op, may_lose_tail)]
    first = min((op.ended for op in firm), default=0)
    return [f"#{op.number} was made a second time" for op in binding
            if firm and op.began > first and not op.replayed and not op.corrected]


def _judge_duplicates(verdict, ledger, most):
    """`dup:` and its `undo:`, which the ledger makes of an entry whose key it has; taken out."""
    for key in [key for key in ledger if key[2].startswith("dup:")]:
        company, type_, reference = key
        undo = (company, type_, "undo:" + reference[4:])
        taken = [*ledger.pop(key), *ledger.pop(undo, [])]
        verdict.duplicates += 1
        if sum(micros for _, micros in taken) != 0:
            verdict.differences.append(f"{key}: a duplicate that was not taken back: {taken}")
    if verdict.duplicates > most:
        verdict.differences.append(f"{verdict.duplicates} duplicates, at most {most} are due")


def _count(verdict, ops):
    final = {op.request: op for op in ops if op.is_final and op.outcome != "unknown"}
    unknown = [op for op in ops if op.outcome == "unknown" and op.request in final]
    verdict.unknown += len(unknown)
    verdict.had_happened += sum(final[op.request].outcome == "ok" and final[op.request].replayed
                                for op in unknown)
    verdict.lost += sum(op.outcome == "ok" and not op.replayed for op in final.values()
                        ) if any(op.outcome == "ok" and not op.is_final for op in ops) else 0


def check_history(stack, history, companies, **allowed):
    """After resolve(), on a stack that stands still: no difference; answers the Verdict."""
    rows = stack.sql(ROWS, [list(companies)])
    balances = dict(stack.sql(BALANCES, [list(companies)]))
    verdict = judge(history.ops, rows, balances, **allowed)
    assert not history.surprises, "\n".join(["unexpected answers:", *history.surprises[:10]])
    assert not verdict.differences, "\n".join([str(verdict), *verdict.differences[:10]])
    return verdict
