# Schedules for the Promise of meter.md: what happens outside of the store, drawn beforehand, so
# that a run is a function of its schedule and shrinks.
#
# A schedule keeps every premise of the Promise, but for the ones that are named as dropped.
#
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

from hypothesis import strategies as st
from promise_model import ceil_div, full_hold
from support.wire import Limits, Price, Terms

# Premises of the Promise.
PREMISES = {
    'overstay': 'talk ends by T* + g',
    'late start': 'Start reaches the gate at most R after the talk began',
    'overcharge': 'the charged duration is not longer than the talk',
    'negative': 'no negative adjustment or refund',
    'lowered credit': 'no lowered credit',
    'late settle': 'no late settle of a call that is not held here',
    'shadow': 'no shadow-mode call',
    'adopted': 'no adopted call',
    'charge': 'no charge beside the calls',
    'start says later': 'a Start does not name a later begin than the talk had',
    'decided anew': 'the talk does not begin before its call was authorized, also where the lease was over since',
}


@dataclass(frozen=True)
class CallPlan:
    company: int
    at: int  # Authorize
    price: Price
    longest_ms: int
    ring_ms: int = 0  # talk begins so long after Authorize
    talk_ms: int = 0  # its natural length
    starts: str = 'start'  # start, now (a Start without its instant), with (Authorize), never, adopt, cancel
    start_after_ms: int = 0  # after the talk began
    stop_after_ms: int = -1  # after it ended, negative: never
    stop_says_when: bool = True
    settle_after_ms: int = 0  # negative: never, once it was stopped
    as_metered: bool = False
    slack_ms: int = 0  # how long before the latest moment it obeys a CUT_OFF
    obeys_max: bool = False  # the provider cuts at the answered max_duration_ms
    heeds_credit: bool = False  # talks on where money came after its CUT_OFF
    tops_up: tuple = ()  # so long after its first CUT_OFF, so much
    again: tuple = ()  # steps that are repeated, each so many ms later
    overstay_ms: int = 0  # the remaining ones: premises dropped
    overcharge_ms: int = 0
    says_later_ms: int = 0


@dataclass(frozen=True)
class Change:
    """Money and terms: top_up, raise, notice; and dropped premises: refund, adjustment, lower,
    charge, stray (a late settle of so many ms)."""
    at: int
    company: int
    kind: str
    amount: int


@dataclass(frozen=True)
class Sidecar:
    tick_late_ms: int
    dies_at: int = -1


@dataclass(frozen=True)
class Schedule:
    limits: Limits  # without the longest call
    terms: tuple
    posted: tuple
    sidecars: tuple
    read_late_ms: int  # from a CUT_OFF being written to the edge's having read it
    ticks: tuple  # ticks at any time, beside the sidecars'
    calls: tuple
    changes: tuple
    settles_late: bool = False  # also a call whose hold is over
    decides_anew: bool = False  # Authorize is repeated for a call whose hold is over and which talks

    def limits_of(self, call):
        return Limits(self.limits.reserve_ms, call.longest_ms, self.limits.lease_ms, self.limits.guard_ms)

    def __str__(self):
        lines = ['%s, read %d ms late, ticks %s' % (self.limits, self.read_late_ms, list(self.ticks))]
        lines += ['wallet %d: posted %d, %s' % (i, *wallet) for i, wallet in enumerate(zip(self.posted, self.terms))]
        return '\n'.join(lines + [str(x) for x in (*self.sidecars, *self.calls, *self.changes)])


PRICES = [Price(60_000, increment=1), Price(90_000), Price(600_000, 500, 0, 1), Price(100_000, 20_000, 60_000, 6_000),
          Price(7_777_777, 1, 1_500, 700), Price(59_999, 0, 2_000, 1), Price(2_600_123_457, increment=1),
          Price(0, 7), Price(1, 0, 0, 1)]
NEVER = st.just(-1)
moments = st.one_of(st.integers(0, 20_000), st.integers(0, 90_000))
short = st.one_of(st.just(0), st.integers(0, 3_000), st.integers(0, 30_000))
steps = st.sampled_from(['start', 'settle', 'stop', 'authorize', 'cancel'])


@st.composite
def call_plans(draw, companies, limits, prices, dropped):
    starts = ['start', 'start', 'with', 'start', 'now', 'never', 'cancel'] + ['adopt'] * ('adopted' in dropped)
    how = draw(st.sampled_from(starts))
    reserve = limits.reserve_ms
    started = dict(min_value=0, max_value=reserve * 3 if 'late start' in dropped else reserve)
    plan = dict(company=draw(st.integers(0, companies - 1)), at=draw(moments), price=draw(st.sampled_from(prices)),
                longest_ms=draw(st.sampled_from([3_600_000, 3_600_000, 3_600_000, 60_000, 15_000, 1])), starts=how,
                talk_ms=draw(st.one_of(st.integers(0, 120_000), st.just(3_600_000))),
                settle_after_ms=draw(st.one_of(short, NEVER)), as_metered=draw(st.booleans()),
                again=tuple(draw(st.lists(st.tuples(steps, short), max_size=2))))
    if how != 'adopt':
        plan['ring_ms'] = draw(short)
    if how in ('start', 'adopt'):
        plan['start_after_ms'] = draw(st.one_of(st.just(0), st.just(started['max_value']), st.integers(**started)))
    if how not in ('never', 'cancel'):
        plan.update(stop_after_ms=draw(st.one_of(NEVER, short)), stop_says_when=draw(st.booleans()),
                    obeys_max=draw(st.sampled_from([False, False, True])), heeds_credit=draw(st.booleans()),
                    tops_up=draw(st.one_of(st.just(()), st.tuples(
                        st.one_of(st.just(0), st.integers(0, limits.guard_ms)),
                        st.one_of(st.integers(1, 30_000), st.just(1_000_000))))),
                    slack_ms=draw(st.one_of(st.just(0), st.integers(0, limits.guard_ms))))
    if 'decided anew' in dropped:
        plan['again'] += (('authorize', limits.lease_ms + draw(short)),)
    for premise, name in (('overstay', 'overstay_ms'), ('overcharge', 'overcharge_ms'),
                          ('start says later', 'says_later_ms')):
        if premise in dropped:
            plan[name] = draw(st.integers(0, 20_000))
    return CallPlan(**plan)


def change_kinds(dropped):
    kinds = ['top_up', 'top_up', 'raise', 'notice']
    kinds += ['refund', 'adjustment'] * ('negative' in dropped) + ['lower'] * ('lowered credit' in dropped)
    return kinds + ['charge'] * ('charge' in dropped) + ['stray'] * ('late settle' in dropped)


@st.composite
def terms_of(draw, dropped):
    return Terms(credit=draw(st.sampled_from([0, 0, 500_000])), unlimited=draw(st.sampled_from([False] * 7 + [True])),
                 shadow='shadow' in dropped and draw(st.booleans()), calls_max=draw(st.sampled_from([10, 10, 2])),
                 warning_ms=draw(st.sampled_from([30_000, 0, 2_000])),
                 repeat_ms=draw(st.sampled_from([5_000, 20_000, 1_000])))


@st.composite
def posted_of(draw, terms, limits, plans):
    """About as much as some of its calls need, so that money runs out in the middle of them."""
    enough = sum(full_hold(c.price, limits) for c in plans[:draw(st.integers(1, 3))])
    talk_ms = draw(st.one_of(st.just(0), st.integers(0, 60_000)))
    rate = plans[0].price.rate if plans else 60_000
    return max(0, enough + ceil_div(rate * talk_ms, 60_000) + draw(st.integers(-2, 2))) - terms.credit


@st.composite
def schedules(draw, dropped=(), calls_max=6):
    limits = draw(st.builds(Limits, reserve_ms=st.sampled_from([10_000, 60_000, 1_000, 1]), longest_ms=st.just(1),
                            lease_ms=st.sampled_from([120_000, 8_000]),
                            guard_ms=st.sampled_from([5_000, 1_000, 300, 0])))
    half = limits.guard_ms // 2  # of the guard goes to ticks, half to the event's way
    late = st.one_of(st.just(0), st.just(half), st.integers(0, half))
    companies = draw(st.sampled_from([1, 1, 2]))
    prices = draw(st.lists(st.sampled_from(PRICES), min_size=1, max_size=2))  # so that calls are rivals
    calls = draw(st.lists(call_plans(companies, limits, prices, dropped), min_size=1, max_size=calls_max))
    terms = [draw(terms_of(dropped)) for _ in range(companies)]
    posted = [draw(posted_of(t, limits, [c for c in calls if c.company == i])) for i, t in enumerate(terms)]
    sidecars = [Sidecar(draw(late))]
    if draw(st.booleans()):
        sidecars.append(Sidecar(draw(late), draw(st.one_of(NEVER, moments))))
    changes = draw(st.lists(st.builds(
        Change, moments, st.integers(0, companies - 1), st.sampled_from(change_kinds(dropped)),
        st.one_of(st.integers(1, 30_000), st.sampled_from([1, 1_000_000, 30_000_000]))), max_size=4))
    return Schedule(limits, tuple(terms), tuple(posted), tuple(sidecars), draw(late),
                    tuple(draw(st.lists(moments, max_size=3))), tuple(calls), tuple(changes),
                    'late settle' in dropped, 'decided anew' in dropped)
