# The wallet of meter.md in plain integers: what the function library must agree with.
#
# Where the library keeps sums, this adds up its calls anew every time; where the library works
# in two halves to stay below 2^53, this multiplies.
#
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field, replace

from support.wire import METERED, REPORTED, USAGE, Limits, Price, Terms

WEEK_MS = 604_800_000
LOOK_AGAIN_MS = 3_600_000


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


@dataclass
class Wallet:
    terms: Terms = Terms()
    posted: int = 0
    version: int = 0
    as_of: int = 0
    exhausted_at: int = 0
    due: int = 0
    calls: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)  # (type, reference) -> what is remembered
    entries: list = field(default_factory=list)
    wrote: bool = False

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

    def note_exhaustion(self, running):
        if self.terms.unlimited or self.available() > 0:
            self.exhausted_at = 0
        elif self.exhausted_at == 0:
            ago = -ceil_div(self.left(), self.burn()) if running and self.burn() else 0
            self.exhausted_at = self.now - max(0, ago)

    # Beginning and end of an operation.
    def begin(self, clock, terms=None):
        """`now`, and the wallet as it stands then: leases that are over have been given back."""
        self.now, self.wrote = max(clock, self.as_of), False
        self.note_exhaustion(running=True)
        if terms and terms.version > self.terms.version:
            self.terms, self.wrote = terms, True
        for call_id in [i for i, c in self.calls.items() if c.lease_over(self.now)]:
            call = self.calls.pop(call_id)
            self.remember(call_id, call, 'EXPIRED', call.authorized_at + call.limits.lease_ms)
        if 0 < self.due <= self.now:
            self.due = min((self.due_of(call) for call in self.calls.values()), default=0)
            self.wrote = True

    def due_of(self, call):
        lease_end = call.authorized_at + call.limits.lease_ms
        return lease_end if call.state == 'AUTHORIZED' else self.now + LOOK_AGAIN_MS

    def mind(self, call):
        self.due = min(self.due or self.due_of(call), self.due_of(call))

    def commit(self):
        self.note_exhaustion(running=False)
        self.as_of, self.wrote = self.now, True

    def remember(self, call_id, call, state, ended_at, **more):
        self.ended[USAGE, call_id] = dict(state=state, call=call, ended_at=ended_at, cost=0, late=False, **more)

    def append(self, type, amount, reference, **more):
        self.posted += amount
        self.version += 1
        self.entries.append(dict(version=self.version, type=type, amount=amount, reference=reference,
                                 balance_after=self.posted, at=self.now, **more))

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

    def meter(self, call_id, call, started_at):
        self.calls.pop(call_id, None)
        burnt = ceil_div(self.used() + call.price.rate * (self.now - started_at), 60000)
        credit = 0 if self.terms.unlimited else self.terms.credit
        free = self.posted + credit - self.held() - burnt
        call.max_ms = self.within(call, self.now - started_at + self.lasts(call, free))
        call.state, call.started_at = 'METERING', started_at
        self.calls[call_id] = call
        self.mind(call)
        self.commit()

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
            self.meter(call_id, call, self.now)
        else:
            call.max_ms = self.within(call, self.lasts(call, self.available()))
            self.calls[call_id] = call
            self.mind(call)
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
                if self.wrote:
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
            self.commit()
        else:
            self.wrote = False
        ms = call.stopped_at - call.started_at
        return dict(outcome='DONE', state='STOPPED', metered_ms=ms, accrued=ceil_div(call.price.rate * ms, 60000),
                    available=self.available(), replayed=replayed)

    def settle(self, call_id, duration, started_at, ended_at, price, resource, destination, meta, asked):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if not call and kept and kept['state'] == 'POSTED':
            return dict(outcome='KEY_REUSED', cost=-kept['amount'])
        if not call and kept and kept['state'] == 'SETTLED':
            self.wrote = False
            same = duration in (None, kept['duration'])
            return dict(outcome='DONE' if same else 'KEY_REUSED', state='SETTLED', cost=kept['cost'],
                        duration_ms=kept['duration'], billed_ms=kept['billed'], balance=self.posted,
                        available=self.available(), replayed=same, late=kept['late'], basis=kept['basis'])
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
        call = call or Call(price, Limits(), resource, destination)
        return self.charge_call(call_id, call, duration, REPORTED, started_at, 0, meta, True)

    def charge_call(self, call_id, call, duration, basis, started_at, ended_at, meta, late):
        cost, billed = cost_of(call.price, duration)
        started = started_at or call.started_at
        ended = ended_at or (started + duration if started else self.now)
        self.append(USAGE, -cost, call_id, duration_ms=duration, billed_ms=billed, basis=basis,
                    price=call.price, authorized_at=call.authorized_at, started_at=started, ended_at=ended,
                    resource=call.resource, destination=call.destination, meta=call.meta + meta,
                    flags=2 if late else 0)
        self.ended[USAGE, call_id] = dict(state='SETTLED', call=call, cost=cost, duration=duration, billed=billed,
                                          basis=basis, late=late, ended_at=ended)
        self.commit()
        return dict(outcome='DONE', state='SETTLED', cost=cost, billed_ms=billed, duration_ms=duration, late=late,
                    balance=self.posted, available=self.available(), replayed=False, basis=basis, price=call.price)

    def cancel(self, call_id):
        call, kept = self.calls.get(call_id), self.kept(call_id)
        if call and call.state != 'AUTHORIZED':
            return dict(outcome='WRONG_STATE', state=call.state)
        if call or not kept:
            self.calls.pop(call_id, None)
            self.remember(call_id, call, 'CANCELLED', self.now)
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
            self.meter(call_id, call, started_at)
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
            self.commit()
        else:
            self.wrote = False
        return dict(outcome='DONE', balance=self.posted, available=self.available(), replayed=bool(kept))
