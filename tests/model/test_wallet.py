# The real function library beside the model, step by step, in any order that Hypothesis can
# think of: duplicates, late and wrong-order steps, leases, and a clock that goes backwards.
#
# CALLGATE_LONG=1 runs many more; --hypothesis-seed=N replays.
#
# SPDX-License-Identifier: Apache-2.0
import os
from collections import Counter, defaultdict
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from redis.exceptions import ResponseError
from support import wire
from support.wire import (
    ADJUSTMENT, BONUS, TOP_UP, UNKNOWN_TERMS, USAGE, Limits, Partition, Price, Terms)
from wallet_model import CALM, NEVER, Call, Wallet

LONG = bool(os.environ.get('CALLGATE_LONG') or os.environ.get('CALLGATE_TEST_LONG'))
BEGIN = 1_700_000_000_000
COMPANIES = [bytes([i]) * 16 for i in (1, 2)]

companies = st.sampled_from(COMPANIES)
ids = st.sampled_from(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
PRICES = [Price(90_000), Price(100_000, 20_000, 60_000, 6_000), Price(60_000, increment=1),
          Price(7_777_777, 1, 1_500, 700), Price(2_600_123_457, increment=1), Price(1, 0, 0, 1), Price(0, 7)]
prices, dear_prices = st.sampled_from(PRICES), st.sampled_from(PRICES[:5])
limits = st.sampled_from([Limits(), Limits(reserve_ms=1, guard_ms=0, lease_ms=1000),
                          Limits(reserve_ms=600_000, longest_ms=900_000, lease_ms=30_000),
                          Limits(reserve_ms=5_000, longest_ms=20_000, lease_ms=60_000, guard_ms=2_000)])
content = st.sampled_from([('voice_outbound', '+4912345')] * 7 + [('voice_inbound', '')])
durations = st.one_of(st.none(), st.sampled_from([0, 1, 1000, 61_001]), st.integers(0, 7_200_000),
                      st.just(604_800_000))
instants = st.one_of(st.just(0), st.integers(-200_000, 20_000))  # 0, or relative to now
steps = st.sampled_from(['start', 'start', 'start', 'stop', 'stop', 'settle', 'settle', 'metered', 'metered',
                         'cancel', 'again', 'adopt'])
lows = st.sampled_from([{}, dict(has_low=True, low_balance=750_000), dict(has_low=True, low_ms=60_000),
                        dict(has_low=True, low_balance=-5)])
warnings = st.sampled_from([30_000, 30_000, 0, 400_000])
metas = st.sampled_from([b'', b'\x01k\x01\x00v', b'\x02zz\x00\x00'])


EVENT_FIELDS = ['type', 'call_id', 'at', 'amount', 'available', 'exhausts_at', 'repeat', 'decision',
                'shadow_decision', 'shadow', 'meta']
ROUNDS_MAX = 3  # in which a tick must have done what is due on a wallet of a few calls

SELDOM = {'CALL_CANCELLED', 'CALL_STOPPED'}  # what a short run need not come to
seen = Counter()  # answers and events, to tell whether the rules reach everything


def in_order(events, entries):
    """Both streams in the order in which everything happened."""
    merged, entries = [], list(entries)
    for event in events:
        while entries and entries[0].id <= event.after:
            merged.append(entries.pop(0))
        merged.append(event)
    return merged + entries


class Machine(RuleBasedStateMachine):
    redis = None
    mutate = staticmethod(lambda text: text)

    @initialize(credit=st.sampled_from([0, 0, 500_000]), unlimited=st.booleans(), shadow=st.booleans(),
                posted=st.sampled_from([0, 1_000_000, 3_000_000, 10**9, 10**12, 10**12]),
                calls_max=st.sampled_from([2, 5]), low=lows, announces=st.booleans(),
                warning_ms=warnings, repeat_ms=st.sampled_from([5000, 5000, 1000, 0]))
    def begin(self, credit, unlimited, shadow, posted, calls_max, low, announces, warning_ms, repeat_ms):
        self.redis.flushall()
        self.redis.execute_command('FUNCTION', 'FLUSH')
        self.redis.execute_command('FUNCTION', 'LOAD', wire.library_text(True, self.mutate))
        self.clock, self.count = BEGIN, 0
        wire.set_clock(self.redis, self.clock)
        self.p = Partition(self.redis, 7, announces=announces)
        self.p.take_into_use()
        self.old_ids = []  # of entries of former epochs
        answer = self.p.events(from_now=True)
        self.event, self.entry = answer.event, answer.entry
        self.wallets = {}
        for company, terms in zip(COMPANIES, [
                Terms(calls_max=calls_max), Terms(credit=credit, unlimited=unlimited, shadow=shadow)]):
            terms = replace(terms, warning_ms=warning_ms, repeat_ms=repeat_ms, **low)
            assert self.p.balance(company).outcome == 'ABSENT'
            assert self.p.load(company, posted, 5, terms).outcome == 'DONE'
            self.wallets[company] = Wallet(terms, posted, 5, self.clock, announces=announces)

    def snapshot(self):
        """DUMP would do, but of hashes it depends on when they are rehashed."""
        keys, types, contents = sorted(self.redis.keys()), self.redis.pipeline(False), self.redis.pipeline(False)
        for key in keys:
            types.type(key)
        for key, kind in zip(keys, types.execute()):
            if kind == b'hash':
                contents.hgetall(key)
            elif kind == b'zset':
                contents.zrange(key, 0, -1, withscores=True)
            else:
                contents.dump(key)
        return dict(zip(keys, contents.execute()))

    def due_of(self, company):
        return int(self.redis.zscore(self.p.key(b'due'), company) or 0)

    def is_due(self, company):
        return 0 < self.due_of(company) <= max(self.clock, self.wallets[company].as_of)

    def news(self):
        """What was written since the last time, and how many entries there had been."""
        booked = self.entry[1] + 1 if self.entry[0] == self.p.epoch else 0
        answer = self.p.events(self.event, self.entry)
        assert answer.outcome == 'DONE' and answer.more == (False, False)
        ids = [self.event] + [event.id for event in answer.events]
        assert ids == sorted(set(ids))
        self.event, self.entry = answer.event, answer.entry
        return answer, booked

    def check_told(self, company, wallet, told, news, booked):
        """Every call is told the same, and in the same order; and so is the wallet."""
        entries = len(self.wallets[company].entries)
        expected, found = defaultdict(list), defaultdict(list)
        for event in told:
            booked_by_then = booked + event['entries'] - entries
            before = self.old_ids[-1] if self.old_ids else (0, 0)
            event = dict(event, after=(self.p.epoch, booked_by_then - 1) if booked_by_then else before)
            expected[event['call_id']].append({name: event.pop(name) for name in EVENT_FIELDS + ['after']})
        for event in news.events:
            if event.company == company:
                found[event.call_id].append({name: event[name] for name in EVENT_FIELDS + ['after']})
                seen[event.type, event.repeat > 0, event.shadow] += 1
        for entry in news.entries:
            if entry.company == company:
                seen['entry', 'assumed'] += entry.basis == wire.ASSUMED
                seen['entry', 'corrected'] += entry.flags & 4 > 0
                seen['entry', 'spared'] += entry.flags & 8 > 0
        assert found == expected

    def step(self, company, name, expected_of, call_of, terms=None):
        """Runs both, compares the answers and events, and that what changed nothing wrote nothing."""
        wallet, before, is_due = deepcopy(self.wallets[company]), self.snapshot(), self.is_due(company)
        due, near = self.due_of(company), wallet.near
        reply = call_of(self.p)
        news, booked = self.news()
        wallet.begin(self.clock, terms, is_due, [x.get('call_id') or x.get('reference')
                                                 for x in in_order(news.events, news.entries)])
        looked = deepcopy(wallet) if is_due else self.wallets[company]
        expected = expected_of(wallet)
        for field, value in expected.items():
            assert reply.get(field) == value, (name, field, value, dict(reply), expected)
        seen[name, reply.outcome, reply.state, reply.get('decision'), reply.get('replayed')] += 1
        if reply.outcome == 'DONE':
            assert reply.at == wallet.now
        kept = wallet if reply.outcome == 'DONE' and wallet.wrote else looked
        self.check_told(company, kept, kept.told if kept is not self.wallets[company] else [], news, booked)
        if kept is self.wallets[company]:
            assert self.snapshot() == before, name
        elif not is_due and 0 < due <= kept.need() and near == kept.near == CALM:
            assert self.due_of(company) == due, 'written without need'
        self.wallets[company] = kept

    def look(self, company):
        """One sidecar after another comes to the wallet; the last one finds nothing to do."""
        is_due, wallet = self.is_due(company), deepcopy(self.wallets[company])
        before = self.snapshot()
        for _ in range(ROUNDS_MAX):
            worked = self.p.tick(company).worked
            assert worked <= is_due
            if not self.is_due(company):
                break
        assert not self.is_due(company), 'never done'
        after = self.snapshot()
        assert is_due or before == after
        assert self.p.tick(company).worked == 0 and self.snapshot() == after
        news, booked = self.news()
        if is_due:
            wallet.begin(self.clock, None, True, [x.get('call_id') or x.get('reference')
                                                  for x in in_order(news.events, news.entries)])
        self.check_told(company, wallet, wallet.told if is_due else [], news, booked)
        self.wallets[company] = wallet
        seen['tick', is_due, is_due and bool(wallet.told)] += 1

    def look_at_all(self):
        for company in self.wallets:
            self.look(company)
        self.p.tick_all()  # those of just_enough(), too
        news, _ = self.news()
        assert not any(event.company in self.wallets for event in news.events)

    def go_to(self, at):
        self.clock = at
        wire.set_clock(self.redis, at)

    @rule()
    def tick(self):
        self.look_at_all()

    @rule(c=companies, ms=st.sampled_from([0, 0, 0, 0, -1, 1, 100, 700]), tick=st.sampled_from([True, True, False]))
    def go_to_what_is_due(self, c, ms, tick):
        self.go_to_what_is_due_of(c, ms, tick)

    def go_to_what_is_due_of(self, c, ms, tick):
        due = self.due_of(c)
        if due and due + ms >= self.clock:
            self.go_to(due + ms)
        if tick:
            self.look_at_all()

    @rule(c=companies, price=dear_prices, l=limits, ticks=st.integers(1, 4),
          ms=st.sampled_from([-1, -1, 0, 1, 400]), then=st.sampled_from([None, 'plan', 'limit', 'credit', 'touch']))
    def talk_to_the_end(self, c, price, l, ticks, ms, then):
        """Ticks, or a little before or after, until the wallet ought to be exhausted."""
        self.another_call_of(c, price, l, True, b'')
        for _ in range(ticks):
            self.go_to_what_is_due_of(c, ms, True)
        now = self.wallets[c].terms
        if then == 'plan':
            self.take_terms(c, replace(now, version=now.version + 1, shadow=not now.shadow))
        elif then == 'limit':
            self.go_to_what_is_due_of(c, ms, False)
            self.take_terms(c, replace(now, version=now.version + 1, credit=0 if now.credit else 700_000))
        elif then == 'touch':
            self.go_to_what_is_due_of(c, ms, False)
            self.do_cancel(c, 'nobody-%d' % self.count)
        elif then == 'credit':
            self.count += 1
            self.do_credit(c, 400_000, BONUS, 'more-%d' % self.count, True)
        self.look_at_all()

    @rule(c=companies, nth=st.integers(0, 5), ms=st.sampled_from([-1, 0, 1, 60_000]), abandoned=st.booleans())
    def outlive(self, c, nth, ms, abandoned):
        """Goes to where a call is overdue, or abandoned."""
        running = [call for call in self.wallets[c].calls.values() if call.state != 'AUTHORIZED']
        if running:
            self.go_to(max(self.clock, running[nth % len(running)].overdue_at() + abandoned * 900_000 + ms))
            self.look_at_all()

    @rule(ms=st.one_of(st.integers(0, 2000), st.integers(0, 200_000), st.integers(-100_000, 0)))
    def wait(self, ms):
        self.go_to(self.clock + ms)

    @rule(c=companies, i=ids, price=st.one_of(prices, prices, st.none()), l=limits, start=st.booleans(),
          validate=st.sampled_from([False, False, False, True]), what=content, meta=metas,
          newer=st.sampled_from([False] * 4 + [True]))
    def authorize(self, c, i, price, l, start, validate, what, meta, newer):
        terms = self.wallets[c].terms
        if newer:
            terms = replace(terms, version=terms.version + 1, credit=700_000 - terms.credit)
        self.do_authorize(c, i, price, l, start, validate, *what, meta, terms)

    def do_authorize(self, c, i, price, l, start, validate, resource, destination, meta, terms=None):
        what = (resource, destination)
        terms = terms or self.wallets[c].terms
        self.step(c, 'authorize', lambda w: w.authorize(i, price, l, start, validate, *what, meta),
                  lambda p: p.authorize(c, i, price, terms, l, start, validate, *what, meta), terms)

    @rule(c=companies, i=ids, how=st.sampled_from(['start', 'stop', 'cancel']), at=instants)
    def stray_step(self, c, i, how, at):
        if how == 'cancel':
            self.do_cancel(c, i)
        else:
            getattr(self, 'do_' + how)(c, i, at and self.clock + at)

    def do_start(self, c, i, at):
        self.step(c, 'start', lambda w: w.start(i, at), lambda p: p.start(c, i, at))

    def do_stop(self, c, i, at):
        self.step(c, 'stop', lambda w: w.stop(i, at), lambda p: p.stop(c, i, at))

    @rule(c=companies, i=ids, d=durations, started=instants, ended=instants,
          price=st.one_of(prices, st.none()), what=st.one_of(content, st.just(('', ''))), meta=metas,
          asked=st.booleans(), assumed=st.one_of(st.none(), st.sampled_from([(0, 0), (90_000, 60_000)])))
    def settle(self, c, i, d, started, ended, price, what, meta, asked, assumed):
        started, ended = started and self.clock + started, ended and self.clock + ended
        self.do_settle(c, i, d, started, ended, price, what, meta, asked, assumed if price else None)

    def do_settle(self, c, i, d, started, ended, price, what, meta, asked, assumed=None):
        self.step(c, 'settle', lambda w: w.settle(i, d, started, ended, price, *what, meta, asked, assumed),
                  lambda p: p.settle(c, i, d, started, ended, wire.REPORTED, *what, price, meta, asked,
                                     assumed=assumed))

    def do_cancel(self, c, i):
        self.step(c, 'cancel', lambda w: w.cancel(i), lambda p: p.cancel(c, i))

    @rule(c=companies, i=ids, price=st.one_of(prices, st.none()), at=st.integers(-200_000, 1000), l=limits,
          what=content, meta=metas, asked=st.booleans())
    def adopt(self, c, i, price, at, l, what, meta, asked):
        self.do_adopt(c, i, price, at + self.clock, l, what, meta, asked)

    def do_adopt(self, c, i, price, at, l, what, meta, asked):
        self.step(c, 'adopt', lambda w: w.adopt(i, price, at, l, *what, meta, asked),
                  lambda p: p.adopt(c, i, price, at, UNKNOWN_TERMS, l, *what, meta, asked))

    # Blind rules seldom hit what they need; these do.
    @rule(c=companies, price=prices, l=limits, start=st.booleans(), meta=metas)
    def another_call(self, c, price, l, start, meta):
        self.another_call_of(c, price, l, start, meta)

    def another_call_of(self, c, price, l, start, meta):
        self.count += 1
        self.do_authorize(c, 'call-%d' % self.count, price, l, start, False, 'voice_outbound', '+491', meta)

    @rule(c=companies, l=limits, price=prices)
    def ring(self, c, l, price):
        self.another_call_of(c, price, l, False, b'')

    @rule(c=companies, nth=st.integers(0, 5), how=steps, d=durations, at=instants, meta=metas)
    def next_step(self, c, nth, how, d, at, meta):
        self.go_on(c, sorted(self.wallets[c].calls), nth, how, d, at, meta)

    @rule(c=companies, nth=st.integers(0, 5), how=steps, d=durations, at=instants, meta=metas)
    def a_step_more(self, c, nth, how, d, at, meta):
        self.go_on(c, sorted(self.wallets[c].calls), nth, how, d, at, meta)

    @rule(c=companies, nth=st.integers(0, 5), how=steps, d=durations, at=instants, meta=metas)
    def step_after_the_end(self, c, nth, how, d, at, meta):
        self.go_on(c, sorted(i for type, i in self.wallets[c].ended if type == USAGE), nth, how, d, at, meta)

    def go_on(self, c, known, nth, how, d, at, meta):
        if not known:
            return
        wallet, i = self.wallets[c], known[nth % len(known)]
        what, kept = ('', ''), wallet.kept(i)
        call = wallet.calls.get(i) or (kept and kept['call'])
        if how in ('settle', 'metered'):
            self.do_settle(c, i, d if how == 'settle' else None, 0, at and self.clock + at, None, what, meta, nth > 2)
        elif how == 'again' and call:
            to = call.destination if nth < 4 else '+4999'
            self.do_authorize(c, i, call.price, call.limits, at > 0, False, call.resource, to, meta)
        elif how == 'adopt' and call:
            self.do_adopt(c, i, call.price, self.clock - 1000, call.limits, (call.resource, call.destination), meta, nth > 2)
        elif how == 'cancel':
            self.do_cancel(c, i)
        elif how in ('start', 'stop'):
            getattr(self, 'do_' + how)(c, i, at and self.clock + at)

    @rule(c=companies, amount=st.sampled_from([1, 400_000, 10**7, 999_999_999_999]), type=st.sampled_from([TOP_UP, BONUS, ADJUSTMENT]),
          ref=st.sampled_from(['a', 'r1', 'r2']), asked=st.booleans())
    def credit(self, c, amount, type, ref, asked):
        if type == ADJUSTMENT:
            amount = -amount
        self.do_credit(c, amount, type, ref, asked)

    def do_credit(self, c, amount, type, ref, asked):
        self.step(c, 'credit', lambda w: w.credit(amount, ref, type, asked),
                  lambda p: p.credit(c, amount, ref, type, 'thanks', asked))

    @rule(c=companies, amount=st.sampled_from([1, 250_000]), quantity=st.sampled_from([1, 2]), ref=ids,
          asked=st.booleans())
    def charge(self, c, amount, quantity, ref, asked):
        self.step(c, 'charge', lambda w: w.charge(amount, ref, quantity, 'phone_number_rental', asked),
                  lambda p: p.charge(c, amount, ref, quantity, 'phone_number_rental', 'rent', asked=asked))

    @rule(c=companies, older=st.sampled_from([False, False, True]), frozen=st.sampled_from([False] * 5 + [True]),
          credit=st.sampled_from([0, 700_000]), low=lows, shadow=st.sampled_from([None, None, True, False]),
          warning_ms=warnings)
    def change_terms(self, c, older, frozen, credit, low, shadow, warning_ms):
        now = self.wallets[c].terms
        terms = replace(now, version=now.version if older else now.version + 1, frozen=frozen, credit=credit,
                        shadow=now.shadow if shadow is None else shadow, warning_ms=warning_ms, **low)
        self.take_terms(c, terms)

    def take_terms(self, c, terms):
        self.step(c, 'load', lambda w: w.load(), lambda p: p.load(c, 123, 99, terms, p.announces), terms)

    @rule(price=prices, l=limits, short=st.booleans())
    def just_enough(self, price, l, short):
        """One micro decides."""
        self.count += 1
        company = self.count.to_bytes(16, 'big')
        needed = Call(price, l, '', '').full
        self.p.load(company, needed - short)
        reply = self.p.authorize(company, 'x', price, UNKNOWN_TERMS, l)
        assert reply.decision == ('INSUFFICIENT_FUNDS' if short else 'ALLOWED')
        assert reply.available == needed - short - reply.held
        self.p.cancel(company, 'x')

    @rule(c=companies, what=st.integers(0, 400))
    def malformed(self, c, what):
        """One wrong byte less, or a number beyond its bounds: an error, and nothing written."""
        before = self.snapshot()
        bad = [lambda p: p.authorize(c, 'a b', Price(1)), lambda p: p.authorize(c, 'x' * 129, Price(1)),
               lambda p: p.authorize(c, 'z', Price(10**11)), lambda p: p.authorize(c, 'z', Price(-1)),
               lambda p: p.authorize(c, 'z', Price(1, 10**11)), lambda p: p.authorize(c, 'z', Price(1, increment=0)),
               lambda p: p.authorize(c, 'z', Price(1, 0, 3_600_001)), lambda p: p.authorize(c, 'z', Price(1), resource='A'),
               lambda p: p.authorize(c, 'z', Price(1), destination='0049'), lambda p: p.settle(c, 'a', -1),
               lambda p: p.settle(c, 'a', 604_800_001), lambda p: p.settle(c, 'a', 5, basis=4),
               lambda p: p.credit(c, 0, 'r'), lambda p: p.credit(c, 10**15, 'r'), lambda p: p.credit(c, -5, 'r'),
               lambda p: p.credit(c, 5, 'r', USAGE), lambda p: p.charge(c, -5, 'r'), lambda p: p.charge(c, 5, 'r', 0),
               lambda p: p.start(c, 'a', -1), lambda p: p.adopt(c, 'a', Price(1), 0),
               lambda p: p.authorize(c, 'z', Price(1), limits=Limits(reserve_ms=0)),
               lambda p: p.operate('settle', c, b'\1' * what),
               lambda p: p.operate('cancel', c, b'\0' + UNKNOWN_TERMS.pack() + wire.text('z') + b'\0')]
        with pytest.raises(ResponseError):
            bad[what % len(bad)](self.p)
        assert self.snapshot() == before

    # What holds after every step.
    @invariant()
    def readers_agree_and_write_nothing(self):
        before = self.snapshot()
        for company, wallet in deepcopy(self.wallets).items():
            wallet.peek(self.clock)
            b = self.p.balance(company)
            assert (b.posted, b.held, b.burn, b.calls, b.version, b.available, b.at) == (
                wallet.posted, wallet.held(), wallet.burn(), len(wallet.calls), wallet.version,
                wallet.available(), wallet.now)
            assert b.accrued == -(-wallet.used() // 60000) and b.exhausts_at == wallet.ends_at()
            self.check_calls(company, wallet)
            for (type, reference), kept in wallet.ended.items():
                if type == USAGE and reference not in wallet.calls:
                    self.check_ended(company, reference, kept)
        assert self.snapshot() == before

    def check_calls(self, company, wallet):
        calls = self.p.calls(company).calls
        assert [(x.authorized_at, x.id) for x in calls] == sorted((x.authorized_at, x.id) for x in calls)
        assert {x.id for x in calls} == set(wallet.calls)
        for x in calls:
            call = wallet.calls[x.id]
            assert x == self.p.get_call(company, x.id).call
            assert (x.state, x.price, x.held, x.resource, x.destination, x.meta, x.authorized_at, x.started_at,
                    x.ended_at, x.shadow) == (
                call.state, call.price, call.held(), call.resource, call.destination, call.meta,
                call.authorized_at, call.started_at, call.stopped_at, call.shadow)
            assert x.accrued == -(-call.used(wallet.now) // 60000)

    def check_ended(self, company, reference, kept):
        reply = self.p.get_call(company, reference)
        if kept['state'] == 'POSTED':
            assert reply.outcome == 'UNKNOWN_CALL'
            return
        assert (reply.call.state, reply.call.cost, reply.call.ended_at, reply.call.late, reply.call.basis,
                reply.call.duration_ms, reply.call.billed_ms) == (
            kept['state'], kept['cost'], kept['ended_at'], kept['late'], kept.get('basis', 0),
            kept.get('duration', 0), kept.get('billed', 0))
        assert reply.call.held == reply.call.accrued == 0

    @invariant()
    def records_add_up(self):
        due = dict(self.redis.zrange(self.p.key(b'due'), 0, -1, withscores=True))
        for company, wallet in self.wallets.items():
            fields = self.redis.hgetall(self.p.wallet_key(company))
            record = wire.take_record(fields)
            by_id = {call_id.decode(): self.raw_call(data) for call_id, data in fields.items()}
            calls = by_id.values()
            assert record.held == sum(x['held'] for x in calls)
            assert record.burn == sum(x['rate'] for x in calls if x['state'] == 2)
            assert record.calls == len(calls)
            assert record.accrued * 60000 + record.rem == sum(
                x['rate'] * ((x['stopped'] if x['state'] == 7 else record.as_of) - x['started'])
                for x in calls if x['state'] != 1)
            assert 0 <= record.rem < 60000
            assert record.as_of == wallet.as_of and record.exhausted_at == wallet.exhausted_at
            assert due.get(company, 0) == record.due and (record.due > 0 or not calls)
            wallet = deepcopy(wallet)
            wallet.now = wallet.as_of
            assert (record.due or NEVER) <= wallet.need()
            assert all(record.due <= x['lease_end'] for x in calls if x['state'] == 1)
            assert (record.low_armed, record.denied_count) == (wallet.low_armed, wallet.denied)
            for call_id, x in by_id.items():
                call, is_void = wallet.calls[call_id], x['arm'] != record.arm
                assert bool(x['marks'] & 2) == call.is_overdue
                assert ((0, 0, 0) if is_void else (x['marks'] & 1, x['cuts'], x['cut_at'])) == (
                    call.warned, call.cuts, call.cut_at)

    @staticmethod
    def raw_call(data):
        r = wire.Reader(data)
        names = ['layout', 'state', 'rate', 'fee', 'minimum', 'increment', 'reserve', 'longest', 'lease', 'guard',
                 'max', 'authorized', 'begun', 'stopped', 'started', 'shadow', 'with_start', 'arm', 'marks', 'cuts',
                 'cut_at', 'again']
        x = dict(zip(names, r.take(1, 1, -8, -8, 4, 4, 4, 4, 4, 4, 4, 6, 6, 6, 6, 1, 1, 2, 1, 2, 6, 5)))
        deal = Call(Price(x['rate'], x['fee'], x['minimum'], x['increment']),
                    Limits(x['reserve'], x['longest'], x['lease'], x['guard']), '', '')
        x['held'] = deal.full if x['state'] == 1 else deal.headroom
        x['lease_end'] = x['authorized'] + x['lease']
        return x

    @invariant()
    def the_stream_says_the_same(self):
        entries = self.p.read().entries
        for company, wallet in self.wallets.items():
            own = [e for e in entries if e.company == company]
            assert len(own) == len(wallet.entries)
            for entry, expected in zip(own, wallet.entries):
                for field, value in expected.items():
                    assert entry[field] == value, (field, dict(entry), expected)
            keys = [(e.type, e.reference) for e in own]
            assert len(keys) == len(set(keys))
        own = [(self.p.epoch, n) for n in range(len(entries) - len(self.old_ids))]
        assert [e.id for e in entries] == self.old_ids + own


def machine_test(redis, mutate=lambda text: text, examples=None, phases=tuple(Phase), derandomize=False,
                 machine=Machine):
    class Driven(machine):
        pass
    Driven.redis, Driven.mutate = redis, staticmethod(mutate)
    Driven.TestCase.settings = settings(
        max_examples=examples or (2000 if LONG else 80), stateful_step_count=100 if LONG else 50, deadline=None,
        suppress_health_check=list(HealthCheck), print_blob=True, database=None, phases=phases,
        derandomize=derandomize)
    return Driven.TestCase


def test_library_agrees_with_the_model(redis):
    seen.clear()
    machine_test(redis)('runTest').runTest()
    told = {(type, is_repeat) for type, is_repeat, *_ in seen}
    assert {(type, False) for type in wire.EVENTS.values() if LONG or type not in SELDOM} <= told
    assert ('CUT_OFF', True) in told and ('CALL_DENIED', True) in told
    assert all(seen['entry', kind] for kind in ('assumed', 'spared', 'corrected'))
