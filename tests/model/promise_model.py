# A wallet as the simulation knows it, exact and in no way taken from the library: T* above all.
#
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field

from support.wire import Limits, Price


def ceil_div(a, b):
    return -(-a // b)


def cost_of(price, duration):
    if duration == 0:
        return 0
    billed = max(price.minimum, ceil_div(duration, price.increment) * price.increment)
    return price.fee + ceil_div(price.rate * billed, 60_000)


def headroom(price, limits):
    return price.fee + ceil_div(price.rate * max(price.minimum, price.increment + limits.guard_ms), 60_000) + 1


def full_hold(price, limits):
    return headroom(price, limits) + ceil_div(price.rate * limits.reserve_ms, 60_000)


@dataclass
class Call:
    price: Price
    limits: Limits
    authorized_at: int
    state: str = 'AUTHORIZED'
    started_at: int = 0
    stopped_at: int = 0
    reached_at: int = 0  # when its Start was at the gate
    told_arm: int = -1  # the arming in which it was told its CUT_OFF
    told_at: int = 0
    told_count: int = 0
    warned_arm: int = -1

    def held(self):
        return (full_hold if self.state == 'AUTHORIZED' else headroom)(self.price, self.limits)

    def burn(self):
        return self.price.rate if self.state == 'METERING' else 0

    def used(self, at):
        """Micros times 60000."""
        if self.state == 'AUTHORIZED':
            return 0
        return self.price.rate * ((self.stopped_at if self.state == 'STOPPED' else at) - self.started_at)

    def lease_end(self):
        return self.authorized_at + self.limits.lease_ms


@dataclass
class Wallet:
    posted: int
    terms: object
    now: int
    calls: dict = field(default_factory=dict)
    ended: dict = field(default_factory=dict)  # id -> state
    ended_calls: dict = field(default_factory=dict)
    arm: int = 0  # how often money made all that was told of its end void, and when
    arm_at: int = 0
    # T*, the instant at which nothing was left; None while there is something.  Two numbers: the
    # meter compares in whole micros, so that whoever comes across the last fraction of one may
    # call that nothing.
    exhausted: tuple = None

    def left(self):
        """Available, times 60000, exactly."""
        credit = 0 if self.terms.unlimited else self.terms.credit
        return (self.posted + credit - sum(c.held() for c in self.calls.values())) * 60_000 \
            - sum(c.used(self.now) for c in self.calls.values())

    def available(self):
        return self.left() // 60_000

    def burn(self):
        return sum(c.burn() for c in self.calls.values())

    def zero_at(self):
        """When nothing will be left, not a fraction of a micro, if nothing changes."""
        return self.now + ceil_div(self.left(), self.burn()) if self.burn() else self.now

    def note(self):
        """To be called after every change and before the next: the time between is not in it."""
        left = self.left()
        if self.terms.unlimited or left >= 60_000:
            self.exhausted = None
        elif left > 0:
            self.exhausted = (self.exhausted[0] if self.exhausted else self.now, self.zero_at())
        else:
            first, zero = self.exhausted or (self.now, self.now)
            self.exhausted = (first, min(zero, self.now))

    def advance(self, at):
        """To the instant `at`, through T* if it lies before."""
        if self.left() > 0 and self.burn() and not self.terms.unlimited and self.zero_at() <= at:
            self.exhausted = (self.exhausted[0] if self.exhausted else self.zero_at(), self.zero_at())
        self.now = at
        self.note()

    def release(self):
        """Ring leases that are over; when the first of them was, or None."""
        over = {i: c.lease_end() for i, c in self.calls.items()
                if c.state == 'AUTHORIZED' and self.now >= c.lease_end()}
        for call_id in over:
            self.end(call_id, 'EXPIRED')
        return min(over.values(), default=None)

    def end(self, call_id, state):
        self.ended[call_id] = state
        self.ended_calls[call_id] = self.calls.pop(call_id)

    def rearm(self):
        self.arm, self.arm_at = self.arm + 1, self.now

    def admits(self, price, limits):
        return len(self.calls) < self.terms.calls_max and (
            self.terms.unlimited or self.available() >= full_hold(price, limits))

    def meter(self, call, started_at):
        call.state, call.started_at, call.reached_at = 'METERING', started_at, self.now
