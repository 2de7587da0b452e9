# Repair after a loss: the machine of test_wallet.py goes on while the store falls back, again and
# again, to what it was a while ago, and takes back from the ledger what it lost.
#
# CALLGATE_LONG=1 runs many more; --hypothesis-seed=N replays.
#
# SPDX-License-Identifier: Apache-2.0
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import Phase, strategies as st
from hypothesis.stateful import rule
from redis.exceptions import ResponseError
from support import wire
from support.wire import (
    ADJUSTMENT, ASSUMED, BONUS, TOP_UP, USAGE, Lost, Partition, Price, Refused, Terms, library_source)
from test_wallet import LONG, Machine, companies, limits, machine_test, prices
from wallet_model import CALM, cost_of

CORRECTION = 'correction:'
LAST = 2**53 - 1
COMPANY = bytes(range(16))
NOW = 1_700_000_000_000
PRICE = Price(60_000)
deeds = st.sampled_from(['settle', 'settle', 'call', 'late', 'credit', 'charge', 'outlive', 'outlive', 'correct'])
seen = set()


def lost_of(entry, books):
    """The entry as the ledger answers it; of a correction its call."""
    own = dict(type=entry.type, reference=entry.reference, epoch=entry.id[0], n=entry.id[1], amount=entry.amount,
               is_charge=bool(entry.flags & 1), late=bool(entry.flags & 2), quantity=entry.quantity,
               resource=entry.resource, destination=entry.destination, meta=entry.meta)
    if entry.type == USAGE and not entry.flags & 1:
        own.update((name, entry[name]) for name in ('price', 'duration_ms', 'billed_ms', 'basis', 'authorized_at',
                                                    'started_at', 'ended_at'))
        correction = books.get((entry.company, ADJUSTMENT, CORRECTION + entry.reference))
        if correction:
            own.update(correction_of(correction))
    elif entry.flags & 4:
        call_id = entry.reference[len(CORRECTION):]
        call = books.get((entry.company, USAGE, call_id))
        own.update(type=USAGE, reference=call_id, price=entry.price, authorized_at=entry.authorized_at, quantity=0,
                   **correction_of(entry))
        if call:
            own.update(amount=call.amount, late=bool(call.flags & 2))
        else:  # charged before this test began: what the correction says of it
            own.update(amount=-entry.amount - cost_of(entry.price, entry.duration_ms)[0], late=True)
    return Lost(**own)


def correction_of(entry):
    return dict(correction=entry.amount, epoch=entry.id[0], n=entry.id[1], duration_ms=entry.duration_ms,
                billed_ms=entry.billed_ms, basis=entry.basis, started_at=entry.started_at, ended_at=entry.ended_at)


class Forgetful(Machine):
    kept = None  # what the store falls back to: its keys, the wallets then, how many entries
    books = None

    @rule()
    def remember(self):
        self.look_at_all()
        copies = self.redis.pipeline(False)
        keys = sorted(self.redis.keys())
        for key in keys:
            copies.dump(key)
        self.kept = dict(zip(keys, copies.execute())), deepcopy(self.wallets), len(self.p.read().entries)

    def fall_back(self):
        for key, copy in self.kept[0].items():
            self.redis.restore(key, 0, copy, replace=True)
        gone = set(self.redis.keys()) - set(self.kept[0])
        if gone:
            self.redis.delete(*gone)
        self.redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text(True, self.mutate))
        wire.set_clock(self.redis, self.clock)

    @rule(piece=st.sampled_from([1, 2, 64]), gives_up=st.booleans(), ms=st.sampled_from([0, 0, 5000]))
    def lose_what_came_since(self, piece, gives_up, ms):
        if self.kept:
            self.lose(piece, gives_up, ms)

    def lose(self, piece, gives_up, ms):
        entries = self.p.read().entries
        self.books = self.books or {}
        self.books.update({(e.company, e.type, e.reference): e for e in entries})
        lost = entries[self.kept[2]:]
        token = self.event, self.entry
        self.go_to(self.clock + ms)
        self.fall_back()
        for attempt in (True, False) if gives_up else (False,):
            self.recover(entries[:self.kept[2]], lost, piece, attempt)
        self.fall_in(lost, token)

    # Blind rules seldom have something to lose; these do.
    @rule(c=companies, price=prices, l=limits, what=st.lists(deeds, min_size=1, max_size=5),
          piece=st.sampled_from([1, 2, 64]), gives_up=st.booleans())
    def live_on_and_forget(self, c, price, l, what, piece, gives_up):
        self.another_call_of(c, price, l, True, b'')
        self.remember()
        for deed in what:
            self.count += 1
            name = 'lost-%d' % self.count
            if deed == 'settle':
                self.go_on(c, sorted(self.wallets[c].calls), self.count, 'settle', 1000 * self.count, 0, b'')
            elif deed == 'call':
                self.another_call_of(c, price, l, True, b'')
            elif deed == 'late':
                self.do_settle(c, name, 61_001, 0, 0, price, ('voice_outbound', '+491'), b'', True)
            elif deed == 'credit':
                self.do_credit(c, 400_000, BONUS, name, True)
            elif deed == 'charge':
                self.charge_of(c, name)
            elif deed == 'outlive':
                self.outlive_all(c)
            elif deed == 'correct':
                assumed = sorted(i for (type, i), kept in self.wallets[c].ended.items()
                                 if type == USAGE and kept['state'] == 'ABANDONED')
                self.go_on(c, assumed, self.count, 'settle', 500 * self.count, 0, b'')
        self.lose(piece, gives_up, 0)

    def charge_of(self, c, reference):
        self.step(c, 'charge', lambda w: w.charge(250_000, reference, 2, 'phone_number_rental', True),
                  lambda p: p.charge(c, 250_000, reference, 2, 'phone_number_rental', 'rent', asked=True))

    def outlive_all(self, c):
        """OVERDUE, and abandoned."""
        for after_ms in (0, 900_000):
            ends = [call.overdue_at() for call in self.wallets[c].calls.values() if call.state != 'AUTHORIZED']
            self.go_to(max([self.clock] + [end + after_ms for end in ends]))
            self.look_at_all()

    def recover(self, left, lost, piece, gives_up):
        """`gives_up`: before its last step; the next one begins again and finds the same."""
        served, self.p.epoch = self.p.epoch if not getattr(self, 'served', 0) else self.served, self.p.epoch + 1
        self.served = served
        fenced = self.p.fence(self.p.epoch)
        end = left[-1].id if left else (0, 0)
        assert fenced.last == (end if end[0] >= served else (served - 1, LAST))
        assert fenced.served == served
        by_wallet = {company: [lost_of(e, self.books) for e in lost if e.company == company]
                     for company in self.wallets}
        work = [(company, each[i:i + piece]) for company, each in by_wallet.items()
                for i in range(0, len(each), piece)]
        for company, part in work[:len(work) // 2] if gives_up else work:
            after = self.wallets[company]
            assert not self.p.repair(self.p.epoch, company, after.posted, after.version, part)
        if not gives_up:
            assert not self.p.serve(self.p.epoch)
            self.served = 0

    def fall_in(self, lost, token):
        """The model does the same at once."""
        after, self.wallets = self.wallets, deepcopy(self.kept[1])
        for company, wallet in self.wallets.items():
            own = [e for e in lost if e.company == company]
            if own:
                self.repair_model(wallet, after[company], own)
        self.old_ids = [e.id for e in self.p.read().entries]
        assert len(self.old_ids) == self.kept[2]
        if any(e.company in self.wallets for e in lost):
            assert self.p.events(*token).outcome == 'OUT_OF_RANGE'
            seen.add('out of range')
        answer = self.p.events(from_now=True)
        self.event, self.entry = answer.event, answer.entry
        self.kept = None

    def repair_model(self, wallet, after, lost):
        wallet.now, wallet.told = max(self.clock, wallet.as_of), []
        wallet.note_exhaustion(running=True)
        for entry in lost:
            reference = entry.reference
            type = entry.type
            if entry.flags & 4:
                type, reference = USAGE, reference[len(CORRECTION):]
            lives = wallet.calls.pop(reference, None) if type == USAGE else None
            kept = dict(after.ended[type, reference])
            if kept['call'] and not lives:
                kept['call'] = replace(kept['call'], shadow='NONE')
            wallet.ended[type, reference] = kept
            seen.add(('closed' if lives else 'remembered', kept['state'], entry.flags & 4 > 0))
        wallet.posted, wallet.version = after.posted, after.version
        wallet.rearm()
        wallet.near = CALM
        wallet.note_exhaustion(running=False)
        wallet.as_of = wallet.now


def test_what_was_lost_is_taken_back(redis):
    seen.clear()
    machine_test(redis, machine=Forgetful)('runTest').runTest()
    ways = {(how, state, False) for how in ('closed', 'remembered') for state in ('SETTLED', 'ABANDONED')}
    assert ways | {('remembered', 'POSTED', False), ('remembered', 'SETTLED', True), 'out of range'} <= seen


MUTANTS = {
    'a lost call stays live': ("\t\tremove_call()\n\t\tcall('HDEL', keys[2], l.reference)", ''),
    'a lost call keeps its hold': ("\t\tremove_call()\n\t\tcall('HDEL', keys[2]", "\t\tcall('HDEL', keys[2]"),
    'its record is left behind': ("call('HDEL', keys[2], l.reference)", ''),
    'the balance stays': ('w_posted, w_version = a.posted, a.version', 'w_version = a.version'),
    'the version stays': ('w_posted, w_version = a.posted, a.version', 'w_posted = a.posted'),
    'keys are forgotten': ("call('HSET', keys[4 + head.ended], key, kept)", ''),
    'an abandoned call counts as settled': ('e.state = ABANDONED\n\tend\n\te.has_price = deal_of(l.price', 'end\n\te.has_price = deal_of(l.price'),
    'a correction is left out of the cost': ('= -l.amount - l.correction,', '= -l.amount,'),
    'what was told stays told': ('local function write_repaired()\n\trearm()', 'local function write_repaired()'),
    'the due set does not hear of it': ("call('ZADD', keys[3], format('%.0f', w_due), sub(keys[2], -16))\nend\n\nlocal function repair", 'end\n\nlocal function repair'),
    'exhaustion is not looked at': ('rearm()\n\tnote_exhaustion()\n\tw_due', 'rearm()\n\tw_due'),
    'late calls are on time': ('e.late, e.was_corrected, e.basis, e.deal = l.late', 'e.late, e.was_corrected, e.basis, e.deal = false'),
}


@pytest.mark.parametrize('name', MUTANTS if LONG else list(MUTANTS)[::4])
def test_mutant_is_caught(redis, name):
    old, new = MUTANTS[name]
    assert library_source().count(old) == 1, 'the library has changed: write this mutant anew'
    case = machine_test(redis, lambda text: text.replace(old, new), 300, (Phase.generate,), True, Forgetful)('runTest')
    with pytest.raises((AssertionError, KeyError, ResponseError, pytest.fail.Exception)):
        case.runTest()


# What the machine does not come to.
@pytest.fixture
def fenced(redis):
    """A wallet with two calls, fenced by 2 as after a loss."""
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    p = Partition(redis)
    p.take_into_use(1)
    p.load(COMPANY, 10**9, 0, Terms(calls_max=1000))
    p.authorize(COMPANY, 'a', PRICE, start=True)
    p.authorize(COMPANY, 'b', PRICE, start=True)
    p.fence(2)
    return p


def usage(reference='a', n=0, amount=-60_000, **more):
    return Lost(USAGE, reference, 1, n, amount, price=PRICE, duration_ms=60_000, billed_ms=60_000, basis=1,
                resource='voice_outbound', destination='+4912345', started_at=NOW, ended_at=NOW + 60_000, **more)


def snapshot(redis):
    return {key: redis.dump(key) for key in redis.keys()}


def test_nothing_is_repaired_but_between_fence_and_serve_of_this_epoch(fenced):
    before = snapshot(fenced.redis)
    assert fenced.repair(1, COMPANY, 5, 9, [usage()]) and fenced.repair(3, COMPANY, 5, 9, [usage()])
    assert snapshot(fenced.redis) == before
    assert not fenced.repair(2, COMPANY, 5, 9, [usage()])
    assert not fenced.serve(2)
    before = snapshot(fenced.redis)
    assert fenced.repair(2, COMPANY, 6, 10, [usage('b', 1)])
    assert snapshot(fenced.redis) == before


def test_the_mark_of_this_recovery_is_needed(fenced):
    fenced.redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text(controlled_clock=True))
    wire.set_clock(fenced.redis, NOW)
    assert fenced.repair(2, COMPANY, 5, 9, [usage()])


def test_repair_adds_nothing_to_the_stream_and_serves_nobody(fenced):
    wire.set_clock(fenced.redis, NOW + 10**9)  # both calls were to be abandoned long ago
    assert not fenced.repair(2, COMPANY, 5, 9, [usage()])
    assert fenced.read().entries == []
    with pytest.raises(Refused):
        fenced.balance(COMPANY)
    assert fenced.fence(3).last == (0, LAST)  # still the end of what was there
    assert not fenced.serve(3)
    fenced.epoch = 3
    assert [e.id for e in fenced.read().entries] == []
    fenced.tick_all()  # OVERDUE first, as always
    wire.set_clock(fenced.redis, NOW + 2 * 10**9)
    fenced.tick_all()
    assert [(e.reference, e.version, e.id) for e in fenced.read().entries] == [('b', 10, (3, 0))]


def test_the_first_tick_looks_at_what_was_repaired(fenced):
    """What the ledger has leaves nothing: the call that goes on is cut off at once, and told anew."""
    assert not fenced.repair(2, COMPANY, 5, 9, [usage()])
    assert not fenced.serve(2)
    fenced.epoch = 2
    position = fenced.events(from_now=True)
    assert fenced.tick().due[0] == (COMPANY, NOW)
    fenced.tick_all()
    assert [(event.type, event.call_id, event.exhausts_at)
            for event in fenced.events(position.event, position.entry).events] == [('CUT_OFF', 'b', NOW)]


def test_positions_of_before_are_out_of_range_where_something_was_lost(fenced):
    """What was in the lost part, and not read yet, would be missing without a word."""
    before = (0, LAST), (0, LAST)
    assert not fenced.serve(2)
    fenced.epoch = 2
    assert fenced.events(*before).outcome == 'DONE'
    fenced.fence(3)
    assert not fenced.repair(3, COMPANY, 5, 9, [usage()])
    assert not fenced.serve(3)
    fenced.epoch = 3
    assert fenced.events(*before).outcome == 'OUT_OF_RANGE'
    now = fenced.events(from_now=True)
    assert fenced.events(now.event, now.entry).outcome == 'DONE'


def test_an_absent_wallet_stays_absent(fenced):
    other = b'O' * 16
    assert not fenced.repair(2, other, 5, 9, [usage()])
    assert not fenced.redis.exists(fenced.wallet_key(other))
    fenced.serve(2)
    fenced.epoch = 2
    assert fenced.balance(other).outcome == 'ABSENT'


def test_a_wallet_of_a_dropped_generation_stays_absent(fenced):
    fenced.drop(2)
    assert not fenced.repair(2, COMPANY, 5, 9, [usage()])
    fenced.serve(2)
    fenced.epoch = 2
    assert fenced.balance(COMPANY).outcome == 'ABSENT'


def test_a_wallet_that_is_not_behind_keeps_its_balance(fenced):
    assert not fenced.repair(2, COMPANY, 5, 0, [usage()])
    fenced.serve(2)
    fenced.epoch = 2
    balance = fenced.balance(COMPANY)
    assert (balance.posted, balance.version, balance.calls) == (10**9, 0, 1)


def test_what_is_repaired_answers_as_before_the_loss(fenced):
    lost = [usage(meta=b'\x01k\x01\x00v', late=True), Lost(BONUS, 'gift', 1, 1, 500),
            Lost(USAGE, 'rent', 1, 2, -7, is_charge=True, quantity=3, resource='phone_number_rental'),
            Lost(ADJUSTMENT, 'undo:0-1-7', 1, 3, 9), Lost(TOP_UP, '', 1, 4, 3)]
    for _ in range(2):
        assert not fenced.repair(2, COMPANY, 10**9 - 60_000 + 505, 5, lost)
    fenced.serve(2)
    fenced.epoch = 2
    answer = fenced.settle(COMPANY, 'a', 60_000)
    assert (answer.outcome, answer.replayed, answer.late, answer.cost, answer.entry) == ('DONE', True, True, 60_000, (1, 0))
    assert fenced.settle(COMPANY, 'a', 1).outcome == 'KEY_REUSED'
    call = fenced.get_call(COMPANY, 'a').call
    assert (call.state, call.meta, call.started_at, call.ended_at) == ('SETTLED', b'\x01k\x01\x00v', NOW, NOW + 60_000)
    assert fenced.authorize(COMPANY, 'a', PRICE).decision == 'BARRED'
    answer = fenced.credit(COMPANY, 500, 'gift', BONUS, asked=False)
    assert (answer.replayed, answer.entry) == (True, (1, 1))
    answer = fenced.charge(COMPANY, 7, 'rent', 3, asked=False)
    assert (answer.replayed, answer.entry) == (True, (1, 2))
    assert fenced.credit(COMPANY, 9, 'undo:0-1-7', ADJUSTMENT, asked=False).replayed
    balance = fenced.balance(COMPANY)
    assert (balance.posted, balance.version, balance.calls) == (10**9 - 60_000 + 505, 5, 1)
    assert fenced.read().entries == []


def test_an_assumed_charge_is_corrected_after_the_repair(fenced):
    assumed = replace(usage(), basis=ASSUMED)
    assert not fenced.repair(2, COMPANY, 10**9 - 60_000, 1, [assumed])
    fenced.serve(2)
    fenced.epoch = 2
    assert fenced.get_call(COMPANY, 'a').call.state == 'ABANDONED'
    answer = fenced.settle(COMPANY, 'a', 30_000)
    assert (answer.cost, answer.corrected, answer.is_correction) == (30_000, -30_000, True)
    entry, = fenced.read().entries
    assert (entry.reference, entry.amount, entry.version) == ('correction:a', 30_000, 2)


@pytest.mark.parametrize('bad', [
    lambda p: p.repair(2, COMPANY, 9 * 10**15 + 1, 1), lambda p: p.repair(2, COMPANY, 1, 2**53),
    lambda p: p.repair(2, COMPANY, 1, 1, [usage()] * 65), lambda p: p.repair(2, COMPANY, 1, 1, [replace(usage(), type=7)]),
    lambda p: p.repair(2, COMPANY, 1, 1, [replace(usage(), type=0)]),
    lambda p: p.repair(2, COMPANY, 1, 1, [replace(usage(), basis=5)]),
    lambda p: p.repair(2, COMPANY, 1, 1, [usage(), replace(usage(), epoch=0)]),
    lambda p: p.repair(2, COMPANY, 1, 1, [replace(usage(), amount=9 * 10**15 + 1)]),
    lambda p: p.fcall('repair', p.wallet_keys(COMPANY), b'\2' + b'\0' * 27 + b'\0')])
def test_a_malformed_argument_is_an_error_and_nothing_is_written(fenced, bad):
    before = snapshot(fenced.redis)
    with pytest.raises(ResponseError):
        bad(fenced)
    assert snapshot(fenced.redis) == before
