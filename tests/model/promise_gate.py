# What stands around the library in a simulation: its clock, its sidecars, the reader of its events.
# Whatever it answers and writes is compared with what promise_model.py knows.
#
# SPDX-License-Identifier: Apache-2.0
import heapq
import struct

from promise_model import Wallet, cost_of
from support import wire
from support.wire import ASSUMED, Partition, Reader

BEGIN = 1_700_000_000_000
STEPS_MAX = 4000


class Overspent(AssertionError):
    """The Promise is broken: posted is below -credit."""


class Gate:
    """Runs what `at` was told of, in its order.

    `compares` is False for mutants: then nothing counts but the Promise, and edges obey what
    the library says of T*.  `forgives`: what dropped premises let through is no overspend."""

    def __init__(self, redis, schedule, compares=True, forgives=False):
        self.redis, self.schedule, self.compares = redis, schedule, compares
        self.now, self.heap, self.count, self.trace = 0, [], 0, []
        self.forgives = forgives
        self.guard = schedule.limits.guard_ms
        self.tick_late = max(s.tick_late_ms for s in schedule.sidecars)
        self.scheduled, self.due = set(), []
        self.last = {b'events': b'-', b'ledger': b'-'}
        self.begin_store()
        for at in schedule.ticks:
            self.at(at, self.tick, None)

    def begin_store(self):
        self.redis.flushall()
        wire.set_clock(self.redis, BEGIN)
        self.p = Partition(self.redis, 7)
        self.p.take_into_use()
        self.companies = [bytes([i + 1]) * 16 for i in range(len(self.schedule.terms))]
        self.wallets, self.let_through = [], [0] * len(self.companies)
        for company, terms, posted in zip(self.companies, self.schedule.terms, self.schedule.posted):
            assert self.p.load(company, posted, 0, terms).outcome == 'DONE'
            self.wallets.append(Wallet(posted, terms, 0))
            self.wallets[-1].note()

    def at(self, when, what, *args):
        self.count += 1
        heapq.heappush(self.heap, (max(when, self.now), self.count, what, args))

    def obey(self, call_id, cut_by, told, first):
        """An edge has read a CUT_OFF."""
        raise NotImplementedError

    def post(self, call_id, call, duration):
        """A call was charged."""
        raise NotImplementedError

    def run(self):
        while self.heap:
            assert self.count < STEPS_MAX, 'it does not end'
            self.now, _, what, args = heapq.heappop(self.heap)
            wire.set_clock(self.redis, BEGIN + self.now)
            what(*args)
        for i, company in enumerate(self.companies):
            self.check(not self.wallets[i].calls and not self.p.calls(company).calls, 'a call is left')
            record = self.record_of(self.redis.hget(self.p.wallet_key(company), b''))
            self.check(record['held'] == record['burn'] == record['accrued'] == record['rem'] == 0, record)
        return self

    def check(self, holds, *what):
        if self.compares:
            assert holds, what

    def note(self, company, text, *args):
        self.trace.append((self.now, company, text, args))

    def story(self):
        return '\n'.join('%8d  wallet %d  %s %s' % (at, company, text, ' '.join(map(str, args)))
                         for at, company, text, args in self.trace)

    # What every operation begins and ends with.
    def open(self, i):
        wallet = self.wallets[i]
        wallet.advance(self.now)
        self.check_told(wallet)
        before, released_at = wallet.exhausted, wallet.release()
        wallet.note()
        self.possible = [wallet.exhausted]  # what T* may be in this operation's events
        if before and released_at is not None and before[0] < released_at:
            self.possible.append(before)  # nothing was left, before holds went back
        return wallet

    def check_told(self, wallet):
        """Whoever meters knows that nothing is left, as soon as the ticks are."""
        for call_id, call in wallet.calls.items():
            if call.state != 'METERING' or call.price.rate == 0 or wallet.terms.unlimited:
                continue
            if call.told_arm == wallet.arm and not wallet.terms.shadow:
                again = call.told_at + wallet.terms.repeat_ms + self.tick_late
                self.check(self.now <= again, call_id, 'CUT_OFF was not repeated')
            elif call.told_arm != wallet.arm and wallet.exhausted:
                latest = max(wallet.exhausted[1], call.reached_at, wallet.arm_at) + self.tick_late
                self.check(self.now <= latest, call_id, 'CUT_OFF was not told by', latest)

    def close(self, i):
        """Reads what the operation wrote; then the sums."""
        with self.redis.pipeline(transaction=False) as pipe:
            for name in (b'events', b'ledger'):
                pipe.xrange(self.p.key(name), self.last[name], '+')
            for company in self.companies:
                pipe.hget(self.p.wallet_key(company), b'')
            pipe.zrange(self.p.key(b'due'), 0, 8, withscores=True)
            events, entries, *records, due = pipe.execute()
        for key, entry in self.read_on(b'ledger', entries):
            self.take_entry(self.p.read_entry(key, entry))
        self.wallets[i].note()
        self.possible.append(self.wallets[i].exhausted)
        for key, event in self.read_on(b'events', events):
            self.take_event(i, self.p.read_event(key, event))
        for n, record in enumerate(records):
            self.compare(self.wallets[n], self.record_of(record), self.let_through[n] if self.forgives else 0)
        self.follow(due)

    def read_on(self, name, found):
        if found:
            self.last[name] = b'(' + found[-1][0]
        return [(tuple(map(int, key.split(b'-'))), Reader(fields[b'e'])) for key, fields in found]

    @staticmethod
    def record_of(data):
        return dict(zip(wire.WALLET_FIELDS, struct.unpack('<B10d', data)))

    def compare(self, wallet, record, forgiven):
        calls = wallet.calls.values()
        lowest = -wallet.terms.credit - forgiven
        if record['posted'] < lowest and not wallet.terms.unlimited:
            raise Overspent(lowest - record['posted'])
        as_of = int(record['as_of']) - BEGIN
        found = [record[name] for name in ('posted', 'held', 'burn', 'calls')]
        found.append(int(record['accrued']) * 60_000 + int(record['rem']))
        self.check(found == [wallet.posted, sum(c.held() for c in calls), sum(c.burn() for c in calls), len(calls),
                             sum(c.used(as_of) for c in calls)], 'sums', found, wallet)

    def follow(self, due):
        """Each sidecar sleeps until the next due time, and then a little longer."""
        self.due = [(company, int(at) - BEGIN) for company, at in due if len(company) == 16]
        for company, at in self.due:
            for n, sidecar in enumerate(self.schedule.sidecars):
                when = max(at, self.now) + sidecar.tick_late_ms
                if (n, company, at) not in self.scheduled and not 0 <= sidecar.dies_at < when:
                    self.scheduled.add((n, company, at))
                    self.at(when, self.tick, n, (n, company, at))

    def tick(self, sidecar, reason=None):
        self.scheduled.discard(reason)
        for _ in range(20):
            due = [company for company, at in self.due if at <= self.now]
            if not due:
                return
            for company in due:
                i = self.companies.index(company)
                self.open(i)
                self.p.tick(company)
                self.close(i)
        self.check(False, 'a tick does not come to its end')

    # What the library tells.
    def take_entry(self, entry):
        wallet = self.wallets[entry.company[0] - 1]
        self.check(entry.balance_after == wallet.posted + (entry.amount if entry.basis == ASSUMED else 0), entry)
        if entry.basis == ASSUMED:
            call = wallet.calls[entry.reference]
            duration = call.stopped_at - call.started_at
            self.check(-entry.amount == cost_of(call.price, duration), entry)
            self.post(entry.reference, call, duration)
            wallet.end(entry.reference, 'ABANDONED')
            self.note(entry.company[0] - 1, 'ABANDONED', entry.reference, entry.amount)

    def take_event(self, i, event):
        if event.type not in ('CUT_OFF', 'CUT_WARNING'):
            return
        wallet, ends_at = self.wallets[i], event.exhausts_at - BEGIN
        call = wallet.calls.get(event.call_id)
        if call is None:  # told by the due work that came before the operation that ended it
            call = wallet.ended_calls[event.call_id]
        self.check(not wallet.terms.unlimited and call.price.rate > 0, event)
        if event.type == 'CUT_WARNING':
            self.check(call.warned_arm != wallet.arm and call.told_arm != wallet.arm, 'warned twice', event)
            call.warned_arm = wallet.arm
            return
        first = call.told_arm != wallet.arm
        self.check(event.repeat == (0 if first else call.told_count), 'a second first CUT_OFF', event)
        self.note(i, 'CUT_OFF', event.call_id, 'T* %d, repeat %d' % (ends_at, event.repeat))
        if first:
            zero = self.zero_of(call, ends_at)
            call.told_count, call.told_arm = 0, wallet.arm
            call.cut_by = max(zero, call.reached_at) + self.guard
        else:
            self.check(self.now >= call.told_at + wallet.terms.repeat_ms, 'told again too soon')
        call.told_at, call.told_count = self.now, call.told_count + 1
        self.at(self.now + self.schedule.read_late_ms, self.obey, event.call_id, call.cut_by, self.count, first)

    def zero_of(self, call, ends_at):
        """The T* of this call by the simulation's own account; the event must say the same."""
        if not self.compares:
            return ends_at
        fits = [zero for zero in self.possible if zero
                and max(zero[0], call.started_at) <= ends_at <= max(zero[1], call.started_at)]
        assert fits, ('T*', ends_at, self.possible, call)
        return max(high for _, high in fits)
