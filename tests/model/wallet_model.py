# The wallet of meter.md in plain integers: what the function library must agree with.
#
# Where the library keeps sums, this adds up its calls anew every time; where the library works
# in two halves to stay below 2^53, this multiplies; where it keeps a due time, this says by when
# something has to happen, and takes from the library alone in which order it came to its calls.
#
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field, replace

from support.wire import ADJUSTMENT, ASSUMED, METERED, REPORTED, USAGE, Limits, Price, Terms

WEEK_MS = 604_800_000
ABANDON_MS = 900_000
DENIALS_MS = 1000
NEVER = 1 << 60
CALM, WARNED, EXHAUSTED = 0, 1, 2


def ceil_div(a, b):
    return -(-a // b)


def cost_of(price, duration):
    if duration == 0:
        return 0, 0
    billed = max(price.minimum, ceil_div(duration, price.increment) * price.increment)
    return price.fee + ceil_div(price.rate * billed, 60000), billed


@dataclass
class Call:
    price: Price
    limits: Limits
    resource: str
    destination: str
    meta: bytes = b''
    state: str = 'AUTHORIZED'
    authorized_at: int = 0
    started_at: int = 0
    stopped_at: int = 0
    max_ms: int = 0
    shadow: str = 'NONE'
    started_with: bool = False
    warned: bool = False
    cuts: int = 0  # how often it was cut off, at which T*, and when it is told again
    cut_at: int = 0
    again_at: int = 0
    is_overdue: bool = False

    def __post_init__(self):
        p, g = self.price, self.limits.guard_ms
        self.headroom = p.fee + ceil_div(p.rate * max(p.minimum, p.increment + g), 60000) + 1
        self.full = self.headroom + ceil_div(p.rate * self.limits.reserve_ms, 60000)

    def held(self):
        return self.full if self.state == 'AUTHORIZED' else self.headroom

    def used(self, now):
        """Micros times 60000."""
        if self.state == 'AUTHORIZED':
            return 0
        return self.price.rate * ((self.stopped_at if self.state == 'STOPPED' else now) - self.started_at)

    def lease_over(self, now):
        return self.state == 'AUTHORIZED' and now >= self.authorized_at + self.limits.lease_ms

    def overdue_at(self):
        return self.started_at + self.limits.longest_ms + self.limits.guard_ms

    def need(self):
        """By when something has to happen to it."""
        if self.state == 'AUTHORIZED':
            return self.authorized_at + self.limits.lease_ms
        end = self.overdue_at() + (ABANDON_MS if self.is_overdue else 0)
        return min(end, self.again_at) if self.cuts and self.state == 'METERING' else end


@dataclass
class Wallet:
    terms: Terms = Terms()
    posted: int = 0
    version: int = 0
    as_of: int = 0
    exhausted_at: int = 0
    calls: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)  # (type, reference) -> what is remembered
    entries: list = field(default_factory=list)
    told: list = field(default_factory=list)  # events since begin()
    near: int = CALM  # how near the end was when it was last looked at
    low_armed: bool = False
    denied: int = 0  # denials that were not told, and the last one's decision
    denied_as: str = 'NONE'
    denied_at: int = 0
    announces: bool = False
    wrote: bool = False
    looked: bool = False

    def __post_init__(self):
        self.now = self.as_of
        self.arm_low()
        self.commit()

    # Sums.
    def burn(self):
        return sum(c.price.rate for c in self.calls.values() if c.state == 'METERING')

    def held(self):
        return sum(c.held() for c in self.calls.values())

    def used(self):
        return sum(c.used(self.now) for c in self.calls.values())

    def left(self):
        credit = 0 if self.terms.unlimited else self.terms.credit
        return (self.posted + credit - self.held()) * 60000 - self.used()

    def available(self):
        return self.left() // 60000

    def exhaustion(self):
        """T* at this burn; None: never, or beyond any clock."""
        ms = ceil_div(self.left(), self.burn()) if self.burn() and not self.terms.unlimited else NEVER
        return self.now + ms if ms < 10**14 else None

    def ends_at(self):
        """T* as it is told: kept once it was reached."""
        return self.exhausted_at or self.exhaustion() or 0

    def note_exhaustion(self, running):
        if self.terms.unlimited or self.available() > 0:
            self.exhausted_at = 0
        elif self.exhausted_at == 0:
            ago = -ceil_div(self.left(), self.burn()) if running and self.burn() else 0
            self.exhausted_at = self.now - max(0, ago)

    def nearness(self):
        end = self.exhaustion()
        if not self.terms.unlimited and self.available() <= 0:
            return EXHAUSTED
        return WARNED if end and end - self.now <= self.terms.warning_ms else CALM

    # Beginning and end of an operation.
    def begin(self, clock, terms=None, look=None, order=()):
        """`now`, and the wallet as it stands then.  `look`: whether what is due is done first; the
        calls that something happens to come in this order."""
        self.now, self.wrote, self.told = max(clock, self.as_of), False, []
        self.note_exhaustion(running=True)
        if terms and terms.version > self.terms.version:
            self.take(terms)
        self.looked = self.need() <= self.now if look is None else look
        if self.looked:
            self.look(order)
            self.wrote = False

    def peek(self, clock):
        """As readers see it: holds that are over have been given back, nothing else has happened."""
        self.now = max(clock, self.as_of)
        self.note_exhaustion(running=True)
        for call_id in [i for i, c in self.calls.items() if c.lease_over(self.now)]:
            self.expire(call_id)
        self.note_exhaustion(running=False)

    def take(self, terms):
        old, self.terms, self.wrote = self.terms, terms, True
        limit, old_limit = (0 if t.unlimited else t.credit for t in (terms, old))
        if limit > old_limit or terms.unlimited > old.unlimited or terms.shadow < old.shadow:
            self.rearm()
        elif (terms.has_low, terms.low_balance, terms.low_ms) != (old.has_low, old.low_balance, old.low_ms):
            self.arm_low()

    def rearm(self):
        self.arm_low()
        self.near = CALM
        for call in self.calls.values():
            call.warned, call.cuts, call.cut_at, call.again_at = False, 0, 0, 0

    def commit(self, call=None):
        """`call`: the one at hand, if it lives."""
        self.note_exhaustion(running=False)
        self.near = self.nearness()
        if self.low_armed and self.is_low():
            self.low_armed = False
            self.tell('BALANCE_LOW', exhausts_at=self.ends_at())
        if call:
            self.tell_end(*call)
        self.as_of, self.wrote = self.now, True

    # What is due.
    def need(self):
        """By when this wallet has to be looked at."""
        running = [c for c in self.calls.values() if c.state == 'METERING' and c.price.rate]
        needs = [call.need() for call in self.calls.values()]
        end, left, burn = self.exhaustion(), self.left(), self.burn()
        if running and not self.terms.unlimited:
            near = max(self.near, self.nearness())
            if near == EXHAUSTED and any(not c.cuts for c in running) or \
                    near == WARNED and any(not c.cuts and not c.warned for c in running):
                needs.append(self.now)
            elif end and near < EXHAUSTED:
                needs.append(end - self.terms.warning_ms if near == CALM else end)
        if self.low_armed and burn and self.terms.low_ms == 0:
            needs.append(self.now + (left - self.terms.low_balance * 60000) // burn + 1)
        elif self.low_armed and end:
            needs.append(end - self.terms.low_ms + 1)
        if self.denied:
            needs.append(self.denied_at + DENIALS_MS)
        return min(needs, default=NEVER)

    def look(self, order=()):
        self.note_exhaustion(running=False)
        for call_id in sorted(self.calls, key=lambda i: order.index(i) if i in order else len(order)):
            self.attend(call_id, self.calls[call_id])
        if self.denied and self.now >= self.denied_at + DENIALS_MS:
            self.tell('CALL_DENIED', decision=self.denied_as, repeat=self.denied)
            self.denied_at, self.denied = self.now, 0
        self.commit()
        for call_id, call in self.calls.items():
            self.tell_end(call_id, call)

    def attend(self, call_id, call):
        if call.lease_over(self.now):
            self.expire(call_id)
            self.tell('CALL_EXPIRED', call_id, call, call.full)
        elif call.state != 'AUTHORIZED' and self.now >= call.overdue_at() + ABANDON_MS:
            self.abandon(call_id, call)
        elif call.state != 'AUTHORIZED':
            if not call.is_overdue and self.now >= call.overdue_at():
                self.tell('CALL_OVERDUE', call_id, call)
                call.is_overdue = True
            self.tell_end(call_id, call)

    def expire(self, call_id):
        call = self.calls.pop(call_id)
        self.remember(call_id, call, 'EXPIRED', call.authorized_at + call.limits.lease_ms)

    def tell_end(self, call_id, call):
        if call.state != 'METERING' or not call.price.rate or self.terms.unlimited:
            return
        if self.now >= call.again_at if call.cuts else self.near == EXHAUSTED:
            if not call.cuts:
                call.cut_at = max(self.exhausted_at, call.started_at)
            self.tell('CUT_OFF', call_id, call, exhausts_at=call.cut_at, repeat=call.cuts)
            call.cuts += 1
            is_last = self.terms.shadow or not self.terms.repeat_ms
            call.again_at = NEVER if is_last else self.now + self.terms.repeat_ms
        elif not call.cuts and self.near == WARNED and not call.warned:
            self.tell('CUT_WARNING', call_id, call, exhausts_at=self.exhaustion())
            call.warned = True

    def abandon(self, call_id, call):
        duration = call.limits.longest_ms
        if call.state == 'STOPPED':
            duration = min(call.stopped_at - call.started_at, WEEK_MS)
        elif call.cuts and not self.terms.shadow:
            duration = min(duration, call.cut_at + call.limits.guard_ms - call.started_at)
        del self.calls[call_id]
        self.charge_as('ABANDONED', call_id, call, duration, ASSUMED, call.started_at, call.started_at + duration,
                       b'', False)

    # BALANCE_LOW.
    def is_low(self):
        if not self.terms.has_low or self.terms.low_ms == 0:
            return self.terms.has_low and self.available() < self.terms.low_balance
        end = self.exhaustion()
        return not self.terms.unlimited and (
            self.available() <= 0 or end is not None and end - self.now < self.terms.low_ms)

    def arm_low(self):
        self.low_armed = self.terms.has_low and not self.is_low()

    def deny(self, call_id, verdict, required, meta):
        if self.now >= self.denied_at + DENIALS_MS:
            self.tell('CALL_DENIED', call_id, None, required, meta=meta, decision=verdict, repeat=self.denied)
            self.denied_at, self.denied = self.now, 0
        else:
            self.denied, self.denied_as = self.denied + 1, verdict
        self.wrote = True

    # What is written.
    def tell(self, type, call_id='', call=None, amount=0, **more):
        self.told.append(dict(
            dict(type=type, call_id=call_id, at=self.now, amount=amount, available=self.available(), exhausts_at=0,
                 repeat=0, decision='NONE', shadow_decision=call.shadow if call else 'NONE',
                 shadow=int(self.terms.shadow), meta=call.meta if call else b'', entries=len(self.entries)), **more))

    def lifecycle(self, type, call_id, call, amount):
        if self.announces:
            self.tell(type, call_id, call, amount)

    def remember(self, call_id, call, state, ended_at, **more):
        self.ended[USAGE, call_id] = dict(state=state, call=call, ended_at=ended_at, cost=0, late=False, **more)

    def append(self, type, amount, reference, shadow=None, flags=0, **more):
        self.posted += amount
        self.version += 1
        self.note_exhaustion(running=False)
        self.entries.append(dict(version=self.version, type=type, amount=amount, reference=reference,
                                 balance_after=self.posted, at=self.now, available=self.available(), shadow=shadow,
                                 exhausts_at=0 if type == USAGE else self.ends_at(),
                                 flags=flags + (8 if shadow else 0), **more))

    def kept(self, call_id):
        return self.ended.get((USAGE, call_id))

    # Steps of a call.
    def lasts(self, call, free):
        burn = self.burn() + call.price.rate
        if self.terms.unlimited or self.terms.shadow or burn == 0:
            return call.limits.longest_ms
        return (free - call.headroom) * 60000 // burn

    def within(self, call, ms):
        return max(0, min(ms, call.limits.longest_ms))

    def meter(self, call_id, call, started_at, said=('CALL_STARTED',)):
        self.calls.pop(call_id, None)
        burnt = ceil_div(self.used() + call.price.rate * (self.now - started_at), 60000)
        credit = 0 if self.terms.unlimited else self.terms.credit
        free = self.posted + credit - self.held() - burnt
        call.max_ms = self.within(call, self.now - started_at + self.lasts(call, free))
        call.state, call.started_at = 'METERING', started_at
        self.calls[call_id] = call
        for type in said:
            self.lifecycle(type, call_id, call, call.headroom)
        if not said:
            self.tell('CALL_ADOPTED', call_id, call, call.headroom)
        self.commit((call_id, call))

    def decide(self, call):
        if self.terms.suspended or self.terms.frozen:
            return 'SUSPENDED'
        if call is None:
            return 'NO_PRICE'
        if len(self.calls) >= self.terms.calls_max:
            return 'CONCURRENCY_LIMIT'
        if not self.terms.unlimited and self.available() < call.full:
            return 'INSUFFICIENT_FUNDS'
        return 'ALLOWED'

    def authorize(self, call_id, price, limits, start, validate_only, resource, destination, meta):
        call = self.calls.get(call_id)
        if call:
            if (call.resource, call.destination) != (resource, destination):
                return dict(outcome='KEY_REUSED')
            if start and not validate_only and call.state == 'AUTHORIZED':
                self.meter(call_id, call, self.now)
            else:
                self.wrote = False
            return self.authorized(call, True)
        kept = self.kept(call_id)
        if kept and (kept['state'] == 'POSTED' or kept['call'] and
                     (kept['call'].resource, kept['call'].destination) != (resource, destination)):
            return dict(outcome='KEY_REUSED')
        call = Call(price, limits, resource, destination, meta) if price else None
        verdict = 'BARRED' if kept and kept['state'] != 'EXPIRED' else self.decide(call)
        decision = 'ALLOWED' if self.terms.shadow else verdict
        shadow = verdict if self.terms.shadow else 'NONE'
        if validate_only or decision != 'ALLOWED' or verdict == 'BARRED' or not call:
            if decision != 'ALLOWED' and not validate_only:
                self.deny(call_id, verdict, call.full if call else 0, meta)
            if validate_only:
                self.wrote = False
            elif self.wrote:
                self.commit()
            lasts = call and decision == 'ALLOWED' and verdict != 'BARRED'
            return dict(outcome='DONE', decision=decision, shadow=shadow, state='NONE', held=0, price=price,
                        available=self.available(), required=call.full if call else 0, replayed=False,
                        max_ms=self.within(call, self.lasts(call, self.available())) if lasts else 0,
                        expires_at=0)
        call.authorized_at, call.shadow, call.started_with = self.now, shadow, start
        if start:
            self.meter(call_id, call, self.now, ('CALL_AUTHORIZED', 'CALL_STARTED'))
        else:
            call.max_ms = self.within(call, self.lasts(call, self.available()))
            self.calls[call_id] = call
            self.lifecycle('CALL_AUTHORIZED', call_id, call, call.full)
            self.commit()
        return self.authorized(call, False)

    def authorized(self, call, replayed):
        expires = call.authorized_at + call.limits.lease_ms if call.state == 'AUTHORIZED' else \
            call.started_at + call.limits.longest_ms
        return dict(outcome='DONE', decision='ALLOWED', shadow=call.shadow, state=call.state, price=call.price,
                    held=call.headroom if call.started_with else call.full, available=self.available(),
                    required=call.full, max_ms=call.max_ms, expires_at=expires, replayed=replayed)

    def start(self, call_id, started_at):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if call and call.state != 'AUTHORIZED':
            self.wrote = False
            return self.started(call, 'ALLOWED', call.state, True)
        if not call and (not kept or kept['state'] == 'POSTED'):
            return dict(outcome='UNKNOWN_CALL')
        if not call and kept['state'] != 'EXPIRED':
            return dict(outcome='WRONG_STATE', state=kept['state'])
        if not call:
            old = kept['call']
            call = replace(old, state='EXPIRED', started_at=0, started_with=False, shadow='NONE', max_ms=0)
            verdict = self.decide(call)
            decision = 'ALLOWED' if self.terms.shadow else verdict
            call.shadow = verdict if self.terms.shadow else 'NONE'
            if decision != 'ALLOWED':
                self.deny(call_id, verdict, call.full, call.meta)
                self.commit()
                return self.started(call, decision, 'EXPIRED', False)
        at = started_at if 0 < started_at <= self.now else self.now
        self.meter(call_id, call, max(at, call.authorized_at))
        return self.started(call, 'ALLOWED', 'METERING', False)

    def started(self, call, decision, state, replayed):
        return dict(outcome='DONE', decision=decision, shadow=call.shadow, state=state, max_ms=call.max_ms,
                    started_at=call.started_at, available=self.available(), replayed=replayed)

    def stop(self, call_id, ended_at):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if not call:
            if not kept or kept['state'] == 'POSTED':
                return dict(outcome='UNKNOWN_CALL')
            return dict(outcome='WRONG_STATE', state=kept['state'])
        if call.state == 'AUTHORIZED':
            return dict(outcome='WRONG_STATE', state='AUTHORIZED')
        replayed = call.state == 'STOPPED'
        if not replayed:
            at = ended_at if 0 < ended_at <= self.now else self.now
            call.state, call.stopped_at = 'STOPPED', max(at, call.started_at)
            self.lifecycle('CALL_STOPPED', call_id, call,
                           ceil_div(call.price.rate * (call.stopped_at - call.started_at), 60000))
            self.commit()
        else:
            self.wrote = False
        ms = call.stopped_at - call.started_at
        return dict(outcome='DONE', state='STOPPED', metered_ms=ms, accrued=ceil_div(call.price.rate * ms, 60000),
                    available=self.available(), replayed=replayed)

    def settle(self, call_id, duration, started_at, ended_at, price, resource, destination, meta, asked, assumed=None):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if not call and kept and kept['state'] == 'POSTED':
            return dict(outcome='KEY_REUSED', cost=-kept['amount'])
        if not call and kept and kept['state'] == 'SETTLED':
            self.wrote = False
            same = duration in (None, kept['duration'])
            return self.settled('DONE' if same else 'KEY_REUSED', kept, same)
        if not call and kept and kept['state'] == 'ABANDONED':
            return self.correct(call_id, kept, duration, started_at, ended_at, meta)
        if call:
            if duration is None and call.state == 'AUTHORIZED':
                return dict(outcome='WRONG_STATE', state='AUTHORIZED')
            end = call.stopped_at if call.state == 'STOPPED' else 0
            basis = REPORTED
            if duration is None:
                at = ended_at if 0 < ended_at <= self.now else self.now
                end = end or max(at, call.started_at)
                duration, basis = min(end - call.started_at, WEEK_MS), METERED
            del self.calls[call_id]
            return self.charge_call(call_id, call, duration, basis, started_at, end, meta, False)
        if not asked:
            return dict(outcome='ASK')
        call = kept['call'] if kept else None
        if not call and not resource:
            return dict(outcome='UNKNOWN_CALL')
        if duration is None:
            return dict(outcome='WRONG_STATE')
        if not call and not price:
            return dict(outcome='NO_PRICE')
        if assumed:
            kept = dict(call=Call(price, Limits(), resource, destination), cost=assumed[0], billed=assumed[1],
                        duration=0, ended_at=self.now, late=True)
            return self.correct(call_id, kept, duration, started_at, ended_at, meta)
        call = call or Call(price, Limits(), resource, destination)
        return self.charge_call(call_id, call, duration, REPORTED, started_at, 0, meta, True)

    def charge_call(self, call_id, call, duration, basis, started_at, ended_at, meta, late):
        started = started_at or call.started_at
        ended = ended_at or (started + duration if started else self.now)
        self.charge_as('SETTLED', call_id, call, duration, basis, started, ended, meta, late)
        self.commit()
        return self.settled('DONE', self.kept(call_id), False)

    def charge_as(self, state, call_id, call, duration, basis, started, ended, meta, late):
        cost, billed = cost_of(call.price, duration)
        self.append(USAGE, -cost, call_id, duration_ms=duration, billed_ms=billed, basis=basis,
                    price=call.price, authorized_at=call.authorized_at, started_at=started, ended_at=ended,
                    resource=call.resource, destination=call.destination, meta=call.meta + meta, quantity=0,
                    flags=2 if late else 0, shadow=self.spared(call, cost, duration))
        self.ended[USAGE, call_id] = dict(state=state, call=call, cost=cost, duration=duration, billed=billed,
                                          basis=basis, late=late, ended_at=ended)

    @staticmethod
    def spared(call, cost, duration):
        """What would have been decided, when it would have been cut off, and what that spares."""
        if call.shadow not in ('NONE', 'ALLOWED'):
            return call.shadow, call.cut_at, cost
        if call.shadow == 'ALLOWED' and call.cuts:
            return 'ALLOWED', call.cut_at, cost - cost_of(call.price, min(duration, call.cut_at - call.started_at))[0]
        return None

    def correct(self, call_id, kept, duration, started_at, ended_at, meta):
        call, basis = kept['call'], REPORTED
        if duration is None:
            duration, basis = kept['duration'], METERED
            if ended_at:
                duration = min(max(0, min(ended_at, self.now) - call.started_at), WEEK_MS)
        cost, billed = cost_of(call.price, duration)
        started = started_at or call.started_at
        ended = started + duration if started else kept['ended_at']
        self.append(ADJUSTMENT, kept['cost'] - cost, 'correction:' + call_id, quantity=billed - kept['billed'],
                    duration_ms=duration, billed_ms=billed, basis=basis, price=call.price, flags=4,
                    authorized_at=call.authorized_at, started_at=started, ended_at=ended, resource=call.resource,
                    destination=call.destination, meta=call.meta + meta)
        self.ended[USAGE, call_id] = dict(kept, state='SETTLED', cost=cost, duration=duration, billed=billed,
                                          basis=basis, ended_at=ended, corrected=cost - kept['cost'])
        self.commit()
        return self.settled('DONE', self.kept(call_id), False)

    def settled(self, outcome, kept, replayed):
        return dict(outcome=outcome, state='SETTLED', cost=kept['cost'], duration_ms=kept['duration'],
                    billed_ms=kept['billed'], balance=self.posted, available=self.available(), replayed=replayed,
                    late=kept['late'], basis=kept['basis'], price=kept['call'].price,
                    corrected=kept.get('corrected', 0), is_correction='corrected' in kept)

    def cancel(self, call_id):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if call and call.state != 'AUTHORIZED':
            return dict(outcome='WRONG_STATE', state=call.state)
        if call or not kept:
            self.calls.pop(call_id, None)
            self.remember(call_id, call, 'CANCELLED', self.now)
            if call:
                self.lifecycle('CALL_CANCELLED', call_id, call, call.full)
            self.commit()
        elif kept['state'] not in ('CANCELLED', 'EXPIRED'):
            return dict(outcome='WRONG_STATE')
        elif kept['state'] == 'EXPIRED':
            self.remember(call_id, kept['call'], 'CANCELLED', kept['ended_at'], was_expired=True)
            self.commit()
            return dict(outcome='DONE', state='EXPIRED', released=0, available=self.available(), replayed=False)
        elif kept.get('was_expired'):
            self.wrote = False
            return dict(outcome='DONE', state='EXPIRED', released=0, available=self.available(), replayed=True)
        else:
            self.wrote = False
        state = self.kept(call_id)['state']
        known = self.kept(call_id)['call'] if state == 'CANCELLED' else None
        return dict(outcome='DONE', state=state, released=known.full if known else 0,
                    available=self.available(), replayed=bool(kept and not call and state == 'CANCELLED'))

    def adopt(self, call_id, price, started_at, limits, resource, destination, meta, asked):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        known = call or (kept and kept['state'] == 'EXPIRED' and kept['call'])
        if not known and kept:
            return dict(outcome='WRONG_STATE')
        if known and (known.resource, known.destination) != (resource, destination):
            return dict(outcome='KEY_REUSED')
        if call and call.state == 'STOPPED':
            return dict(outcome='WRONG_STATE', state='STOPPED')
        replayed = bool(call and call.state == 'METERING')
        if not call:
            if not asked:
                return dict(outcome='ASK')
            if not known and not price:
                return dict(outcome='NO_PRICE')
            call = replace(known, shadow='NONE', started_with=False) if known else \
                Call(price, limits, resource, destination, meta, authorized_at=self.now)
        if not replayed and not self.now - call.limits.longest_ms <= started_at <= self.now:
            return dict(outcome='OUT_OF_RANGE')
        if replayed:
            self.wrote = False
        else:
            self.meter(call_id, call, started_at, ())
        return dict(outcome='DONE', state='METERING', price=call.price, max_ms=call.max_ms, held=call.headroom,
                    available=self.available(), replayed=replayed)

    def credit(self, amount, reference, type, asked):
        return self.post((type, reference), dict(amount=amount), type, amount, reference, asked)

    def charge(self, amount, reference, quantity, resource, asked):
        if reference in self.calls:
            return dict(outcome='KEY_REUSED')
        return self.post((USAGE, reference), dict(amount=-amount, quantity=quantity, resource=resource), USAGE,
                         -amount, reference, asked, quantity=quantity, resource=resource, flags=1)

    def post(self, key, content, type, amount, reference, asked, **more):
        kept = self.ended.get(key)
        if kept and any(kept.get(name) != value for name, value in content.items()):
            return dict(outcome='KEY_REUSED')
        if not kept and not asked:
            return dict(outcome='ASK')
        if not kept:
            self.append(type, amount, reference, **more)
            self.ended[key] = dict(state='POSTED', call=None, **content)
            if amount > 0:
                self.rearm()
            self.commit()
        else:
            self.wrote = False
        return dict(outcome='DONE', balance=self.posted, available=self.available(), replayed=bool(kept))

    def load(self):
        if self.announces:
            self.tell('WALLET_UPDATED')
        if self.announces or self.wrote:
            self.commit()
        return dict(outcome='DONE')
