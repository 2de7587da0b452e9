# A discrete event simulation over the real function library: edges, sidecars and a reader of
# events act as a schedule says, and every answer is compared with what promise_model.py knows.
#
# SPDX-License-Identifier: Apache-2.0
import heapq
import struct
from dataclasses import dataclass, replace

from promise_model import Call, Wallet, ceil_div, cost_of
from promise_schedule import Change
from support import wire
from support.wire import ADJUSTMENT, ASSUMED, REFUND, TOP_UP, Partition, Reader

BEGIN = 1_700_000_000_000
STEPS_MAX = 4000


class Overspent(AssertionError):
    """The Promise is broken: posted is below -credit."""


@dataclass
class Talk:
    """A call as its edge knows it."""
    plan: object
    id: str
    company: int
    begun_at: int = None
    ended_at: int = None
    refused: bool = False
    max_ms: int = None
    end_version: int = 0
    ends_at: int = None  # as planned
    cut_at: int = None  # when it obeys its CUT_OFF
    cut_by: int = None  # and by when it should
    is_topped_up: bool = False
    is_let_in: bool = False  # shadow mode admitted it
    void_before: int = -1  # a CUT_OFF read from an event before this one does not count


class Run:
    """`compares` is False for mutants: then nothing counts but the Promise, and edges obey what
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
        self.talks = [Talk(plan, 'call-%d' % i, plan.company) for i, plan in enumerate(schedule.calls)]
        for talk in self.talks:
            self.at(talk.plan.at, self.adopt if talk.plan.starts == 'adopt' else self.authorize, talk)
        for i, change in enumerate(schedule.changes):
            self.at(change.at, self.change, change, 'change-%d' % i)
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
            self.post(self.talk_of(entry.reference), call, duration)
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
        self.at(self.now + self.schedule.read_late_ms, self.obey, self.talk_of(event.call_id), call.cut_by, self.count, first)

    def talk_of(self, call_id):
        return next(talk for talk in self.talks if talk.id == call_id)

    def zero_of(self, call, ends_at):
        """The T* of this call by the simulation's own account; the event must say the same."""
        if not self.compares:
            return ends_at
        fits = [zero for zero in self.possible if zero
                and max(zero[0], call.started_at) <= ends_at <= max(zero[1], call.started_at)]
        assert fits, ('T*', ends_at, self.possible, call)
        return max(high for _, high in fits)

    def obey(self, talk, cut_by, told, first):
        if talk.ended_at is not None or told < talk.void_before:
            return
        self.check(self.now <= cut_by or not first or talk.cut_by is not None, 'the CUT_OFF came too late to be obeyed', cut_by)
        if talk.plan.tops_up and not talk.is_topped_up:
            after, amount = talk.plan.tops_up
            talk.is_topped_up = True
            self.at(self.now + after, self.change, Change(self.now + after, talk.company, 'top_up', amount),
                    'from-' + talk.id)
        when = max(self.now, cut_by - talk.plan.slack_ms) + talk.plan.overstay_ms
        if talk.cut_at is None or when < talk.cut_at:
            talk.cut_at, talk.cut_by = when, cut_by
            self.end_by(talk, when)

    def lift(self, i):
        """Money came, and there is some again: what was told of the end holds no longer."""
        self.wallets[i].note()
        if self.wallets[i].available() <= 0:
            return
        for talk in self.talks:
            if talk.company == i and talk.plan.heeds_credit:
                talk.void_before, talk.cut_at, talk.cut_by = self.count, None, None
                talk.end_version += 1
                if talk.ends_at is not None and talk.ended_at is None:
                    self.at(talk.ends_at, self.end, talk, talk.end_version)

    # Talk.
    def begin(self, talk):
        plan = talk.plan
        if talk.ended_at is not None:
            return
        talk.begun_at = self.now
        lasts = min(plan.talk_ms, plan.longest_ms)
        if talk.max_ms is not None and plan.obeys_max:
            lasts = min(lasts, talk.max_ms)
        call = self.wallets[talk.company].calls.get(talk.id)
        if plan.starts == 'never':
            # What nobody ever starts is covered by what was reserved, as long as that is held.
            end = call.lease_end() - 1 - self.now if call else 0
            lasts = max(0, min(lasts, self.schedule.limits.reserve_ms, end))
        talk.ends_at = self.now + lasts
        self.end_by(talk, talk.ends_at if talk.cut_at is None else min(talk.ends_at, talk.cut_at))
        if plan.starts in ('start', 'now'):
            self.at(self.now + plan.start_after_ms, self.start, talk)

    def end_by(self, talk, when):
        if talk.ends_at is None or when <= talk.ends_at:
            talk.end_version += 1
            self.at(when, self.end, talk, talk.end_version)

    def end(self, talk, version):
        if talk.ended_at is not None or version != talk.end_version:
            return
        plan, talk.ended_at = talk.plan, self.now
        if talk.begun_at is None:
            talk.begun_at = self.now  # it was given up before anybody talked
        self.note(talk.company, 'talk ends', talk.id, 'after', self.now - talk.begun_at)
        if plan.starts == 'never':
            call = self.wallets[talk.company].calls.get(talk.id)
            end = call.lease_end() - 1 if call else self.now
            return self.at(min(self.now + max(0, plan.settle_after_ms), max(end, self.now)), self.settle, talk)
        if plan.stop_after_ms >= 0:
            self.at(self.now + plan.stop_after_ms, self.stop, talk)
        # What nobody settles is charged up to its Stop, which must be that of the talk.
        if plan.stop_after_ms < 0 or plan.settle_after_ms >= 0 or not plan.stop_says_when:
            self.at(self.now + max(0, plan.settle_after_ms), self.settle, talk)

    def again(self, talk, step, method, is_repeat):
        for name, after in talk.plan.again if not is_repeat else ():
            if name == step:
                self.at(self.now + after, method, talk, True)

    # Operations.
    def authorize(self, talk, is_repeat=False):
        plan, i = talk.plan, talk.company
        if is_repeat and (talk.refused or not self.may_ask_again(talk)):
            return
        wallet, limits = self.open(i), self.schedule.limits_of(plan)
        live, admits = wallet.calls.get(talk.id), wallet.admits(plan.price, limits)
        barred = wallet.ended.get(talk.id, 'EXPIRED') != 'EXPIRED'
        reply = self.p.authorize(self.companies[i], talk.id, plan.price, wallet.terms, limits, plan.starts == 'with')
        allowed = reply.outcome == 'DONE' and reply.decision == 'ALLOWED' and reply.state != 'NONE'
        self.note(i, 'Authorize', talk.id, reply.decision, 'available', reply.available)
        self.check(allowed == bool(live or not barred and (admits or wallet.terms.shadow)), reply)
        if allowed and not reply.replayed:
            call = wallet.calls[talk.id] = Call(plan.price, limits, self.now)
            talk.is_let_in |= not admits
            if plan.starts == 'with':
                wallet.meter(call, self.now)
        if not is_repeat and not allowed:
            talk.refused = True
        elif not is_repeat:
            talk.max_ms = reply.max_ms
            self.at(self.now + plan.ring_ms, self.cancel if plan.starts == 'cancel' else self.begin, talk)
        self.close(i)
        self.again(talk, 'authorize', self.authorize, is_repeat)

    def may_ask_again(self, talk):
        call = self.wallets[talk.company].calls.get(talk.id)
        return talk.begun_at is None or call and self.now < call.lease_end() or self.schedule.decides_anew

    def cancel(self, talk, is_repeat=False):
        wallet = self.open(talk.company)
        reply = self.p.cancel(self.companies[talk.company], talk.id)
        self.note(talk.company, 'Cancel', talk.id, reply.outcome)
        if talk.id in wallet.calls:
            wallet.end(talk.id, 'CANCELLED')
        elif wallet.ended[talk.id] == 'EXPIRED':
            wallet.ended[talk.id] = 'CANCELLED'
        self.close(talk.company)
        self.again(talk, 'cancel', self.cancel, is_repeat)

    def start(self, talk, is_repeat=False):
        plan, i = talk.plan, talk.company
        wallet = self.open(i)
        call, limits = wallet.calls.get(talk.id), self.schedule.limits_of(plan)
        state = call.state if call else wallet.ended[talk.id]
        expired = call is None and state == 'EXPIRED'
        admits = expired and (wallet.admits(plan.price, limits) or wallet.terms.shadow)
        says = self.now if plan.starts == 'now' else talk.begun_at + plan.says_later_ms
        reply = self.p.start(self.companies[i], talk.id, 0 if plan.starts == 'now' else BEGIN + says)
        self.note(i, 'Start', talk.id, 'talk since', talk.begun_at, reply.outcome, reply.get('decision'))
        begins = reply.outcome == 'DONE' and reply.decision == 'ALLOWED' and not reply.replayed
        self.check(begins == (state == 'AUTHORIZED' or admits), reply)
        if begins:
            talk.is_let_in |= reply.shadow not in ('NONE', 'ALLOWED')
            call = call or replace(wallet.ended_calls[talk.id])
            wallet.calls[talk.id] = call
            wallet.meter(call, max(call.authorized_at, min(says, self.now)))
        elif expired and not is_repeat:
            self.hang_up(talk)
        self.close(i)
        self.again(talk, 'start', self.start, is_repeat)

    def hang_up(self, talk):
        """Its Start was refused: nothing is charged for it."""
        talk.refused = True
        if talk.ended_at is None:
            self.end(talk, talk.end_version)

    def stop(self, talk, is_repeat=False):
        wallet = self.open(talk.company)
        at = talk.ended_at if talk.plan.stop_says_when else self.now
        reply = self.p.stop(self.companies[talk.company], talk.id, BEGIN + at if talk.plan.stop_says_when else 0)
        self.note(talk.company, 'Stop', talk.id, reply.outcome)
        call = wallet.calls.get(talk.id)
        if call and call.state == 'METERING':
            self.check(reply.outcome == 'DONE' and not reply.replayed, reply)
            call.state, call.stopped_at = 'STOPPED', max(at, call.started_at)
        elif talk.plan.settle_after_ms < 0 and talk.plan.stop_says_when and not is_repeat:
            self.at(self.now + 1000, self.settle, talk)
        self.close(talk.company)
        self.again(talk, 'stop', self.stop, is_repeat)

    def charged_ms(self, talk, call, wallet):
        """Its talk, or None: as metered, where that is not more."""
        talked = talk.ended_at - talk.begun_at + talk.plan.overcharge_ms
        if talk.refused:
            return 0
        if call is None:
            return talked if wallet.ended[talk.id] != 'EXPIRED' or self.schedule.settles_late else 0
        if not talk.plan.as_metered or call.state == 'AUTHORIZED':
            return talked
        end = call.stopped_at if call.state == 'STOPPED' else talk.ended_at
        return None if max(end, call.started_at) - call.started_at <= talked else talked

    def post(self, talk, call, duration):
        cost = cost_of(call.price, duration)
        self.wallets[talk.company].posted -= cost
        self.let_through[talk.company] += self.let_through_by(talk, call, duration, cost)

    def let_through_by(self, talk, call, duration, cost):
        """How much of this call's cost its own dropped premises are to blame for."""
        if talk.plan.starts == 'adopt' or talk.is_let_in or talk.id in self.wallets[talk.company].ended:
            return cost
        reserve, begun_at = self.schedule.limits.reserve_ms, talk.begun_at
        beyond = max(0, talk.ended_at - talk.cut_by) if talk.cut_by is not None else 0
        beyond = min(duration, beyond + talk.plan.overcharge_ms)
        if call.state == 'AUTHORIZED':
            unseen = [duration - beyond - reserve]
        else:
            unseen = [call.reached_at - call.started_at - reserve, call.started_at - begun_at]
        return cost - cost_of(call.price, duration - beyond) + sum(
            ceil_div(call.price.rate * max(0, ms), 60_000) for ms in unseen)

    def settle(self, talk, is_repeat=False):
        i = talk.company
        wallet = self.open(i)
        call = wallet.calls.get(talk.id)
        duration = self.charged_ms(talk, call, wallet)
        reply = self.p.settle(self.companies[i], talk.id, duration, ended_at=BEGIN + talk.ended_at, asked=True)
        self.note(i, 'Settle', talk.id, 'of', duration, reply.outcome, 'cost', reply.get('cost'), 'posted',
                  reply.get('balance'))
        if call or wallet.ended[talk.id] in ('EXPIRED', 'CANCELLED'):
            self.check(reply.outcome == 'DONE' and not reply.replayed, reply)
            known = call or wallet.ended_calls[talk.id]
            if duration is None:
                end = call.stopped_at if call.state == 'STOPPED' else talk.ended_at
                duration = max(0, end - call.started_at)
            self.post(talk, known, duration)
            if call:
                wallet.end(talk.id, 'SETTLED')
            wallet.ended[talk.id] = 'SETTLED'
        self.close(i)
        self.again(talk, 'settle', self.settle, is_repeat)

    def adopt(self, talk):
        plan, i = talk.plan, talk.company
        wallet, limits = self.open(i), self.schedule.limits_of(plan)
        began = self.now - min(plan.start_after_ms, plan.longest_ms)
        reply = self.p.adopt(self.companies[i], talk.id, plan.price, BEGIN + began, wallet.terms, limits, asked=True)
        self.note(i, 'Adopt', talk.id, 'talk since', began, reply.outcome)
        self.check(reply.outcome == 'DONE', reply)
        call = wallet.calls[talk.id] = Call(plan.price, limits, self.now)
        wallet.meter(call, began)
        self.begin(talk)
        talk.begun_at = began
        self.close(i)

    def change(self, change, reference):
        i, amount, kind = change.company, change.amount, change.kind
        wallet, company = self.open(i), self.companies[change.company]
        self.note(i, kind, amount)
        if kind in ('raise', 'lower', 'notice'):
            self.change_terms(wallet, company, kind, amount)
        elif kind == 'stray':
            price = self.schedule.calls[0].price
            self.p.settle(company, reference, amount, resource='voice_outbound', price=price, asked=True)
            wallet.posted -= cost_of(price, amount)
            self.let_through[i] += cost_of(price, amount)
        elif kind == 'charge':
            self.p.charge(company, amount, reference)
            wallet.posted -= amount
            self.let_through[i] += amount
        else:
            type, sign = {'top_up': (TOP_UP, 1), 'refund': (REFUND, -1), 'adjustment': (ADJUSTMENT, -1)}[kind]
            self.p.credit(company, sign * amount, reference, type)
            wallet.posted += sign * amount
            self.let_through[i] += max(0, -sign * amount)
        self.close(i)
        if kind == 'top_up':
            wallet.rearm()
        if kind in ('top_up', 'raise'):
            self.lift(i)

    def change_terms(self, wallet, company, kind, amount):
        terms, old = wallet.terms, wallet.terms.credit
        if kind == 'lower':
            self.let_through[self.wallets.index(wallet)] += min(old, amount)
        wallet.terms = replace(terms, version=terms.version + 1, **{
            'raise': dict(credit=old + amount), 'lower': dict(credit=max(0, old - amount)),
            'notice': dict(warning_ms=amount % 60_000)}[kind])
        if kind == 'raise' and not terms.unlimited:
            wallet.rearm()
        wallet.note()
        self.possible.append(wallet.exhausted)
        self.p.load(company, 0, 0, wallet.terms)
