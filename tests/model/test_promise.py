# The Promise of meter.md, over any interleaving that Hypothesis can think of.
#
# CALLGATE_LONG=1 runs many more; --hypothesis-seed=N replays.
#
# SPDX-License-Identifier: Apache-2.0
import os
from random import Random, randrange

import pytest
from hypothesis import HealthCheck, Phase, find, given, note, seed, settings
from hypothesis.errors import NoSuchExample
from promise_gate import Overspent
from promise_run import Run
from promise_schedule import PREMISES, schedules
from support import wire

LONG = bool(os.environ.get('CALLGATE_LONG') or os.environ.get('CALLGATE_TEST_LONG'))


@pytest.fixture
def number(request):
    """The seed: given, or new and printed where the test fails."""
    given_one = request.config.getoption('--hypothesis-seed', None)
    number = randrange(2**32) if given_one in (None, 'random') else int(given_one)
    print('--hypothesis-seed=%d' % number)
    return number


def load(redis, mutate=lambda text: text):
    redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text(True, mutate))


def settings_of(examples, **more):
    return settings(max_examples=examples, deadline=None, database=None, print_blob=True,
                    suppress_health_check=list(HealthCheck), **more)


def check(redis, number, examples, strategy, **how):
    load(redis)

    @seed(number)
    @settings_of(10_000 if LONG else examples)
    @given(strategy)
    def holds(schedule):
        run = None
        try:
            run = Run(redis, schedule, **how)
            run.run()
        except BaseException:
            note('%s\n%s' % (schedule, run and run.story()))
            raise

    holds()


def test_the_promise_is_kept(redis, number):
    check(redis, number, 300, schedules())


def test_overspend_is_what_the_premises_let_through_and_nothing_else(redis, number):
    check(redis, number, 150, schedules(tuple(PREMISES)), forgives=True)


class OutOfRuns(BaseException):
    """Ends a search; nothing that Hypothesis would take for a failure."""


class Search:
    """Looks for a schedule that spends what is not there, with so many runs at most, also while
    it is being shrunk."""

    def __init__(self, redis, compares=True, caught=Overspent, runs_max=5000 if LONG else 1000):
        self.redis, self.compares, self.caught, self.runs_left, self.known = redis, compares, caught, runs_max, {}

    def breaks(self, schedule):
        if schedule not in self.known:
            if self.runs_left == 0:
                raise OutOfRuns
            self.runs_left -= 1
            self.known[schedule] = self.story_of(schedule)
            if self.known[schedule] and not LONG:
                self.runs_left = min(self.runs_left, 60)  # enough to shrink it a good deal
        return bool(self.known[schedule])

    def story_of(self, schedule):
        run = Run(self.redis, schedule, self.compares)
        try:
            run.run()
        except self.caught as broken:
            return '%s\n%r' % (run.story(), broken)
        return None

    def find(self, strategy, number, **more):
        """Prints what it found, and fails where there is nothing."""
        try:
            find(strategy, self.breaks, random=Random(number), settings=settings_of(self.runs_left, **more))
        except (NoSuchExample, OutOfRuns):
            pass
        found = [schedule for schedule, story in self.known.items() if story]
        if not found:
            pytest.fail('the test is blind')
        schedule = found[-1]  # each is smaller than the one before
        print('%s\n%s' % (schedule, self.known[schedule]))


# The proof that the test can see: without any one of its premises the Promise is broken.
@pytest.mark.parametrize('premise', PREMISES)
def test_no_premise_can_be_dropped(redis, number, premise):
    load(redis)
    print('dropped:', PREMISES[premise])
    Search(redis).find(schedules((premise,), 2), number)


MUTANTS = {
    'the headroom forgets the guard': ('local least = d.increment + d.guard_ms', 'local least = d.increment'),
    'the headroom forgets the increment': ('local least = d.increment + d.guard_ms', 'local least = d.guard_ms'),
    'the headroom forgets the minimum': ('d.minimum > least and d.minimum or least', 'least'),
    'the headroom forgets the fee': ('d.headroom = d.fee + charge_for', 'd.headroom = charge_for'),
    'nothing is reserved until Start': (
        'd.hold = d.headroom + charge_for(d.rate, d.reserve_ms)', 'd.hold = d.headroom'),
    'Authorize takes no hold': ('w_held = w_held + deal.hold\n\tend', 'end'),
    'who has a micro is admitted': ('left < deal.hold then', 'left <= 0 then'),
    'a start in the past owes nothing': ('accrue(split(deal.rate, w_as_of - from))', 'accrue(0, 0)'),
    'T* is a second late': ('return ms < 1e14 and w_as_of + ms or nil', 'return w_as_of + ms + 1000'),
    'a hold is given back twice': ('w_held = w_held - held_of_call()', 'w_held = w_held - 2 * held_of_call()'),
}
# These spend nothing, as edges obey what they are told; but they do not tell what meter.md says.
DISAGREEING = {
    'T* is rounded down': ('((below or left % w_burn > 0) and 1 or 0)', '(below and 1 or 0)'),
    'who starts after T* is not told': ('tell_end(id)\n\t\tmind_call()', 'mind_call()'),
    'a credit does not arm anew': ('w_arm = (w_arm + 1) % 65536', ''),
    'CUT_OFF is not repeated': ('if cut.count > 0 and now < cut.again_at then', 'if cut.count > 0 then'),
    'two sidecars tell twice': ('cut.count = cut.count + 1', ''),
    'unlimited wallets are cut off': ('return not terms_unlimited and comes_down_to(0) or nil',
                                      'return comes_down_to(0)'),
}


@pytest.mark.parametrize('name', [*MUTANTS, *DISAGREEING])
def test_mutant_breaks_the_promise(redis, number, name):
    old, new = MUTANTS.get(name) or DISAGREEING[name]
    assert wire.library_source().count(old) == 1, 'the library has changed: write this mutant anew'
    load(redis, lambda text: text.replace(old, new))
    search = Search(redis, False) if name in MUTANTS else Search(redis, True, AssertionError)
    search.find(schedules(calls_max=4), number, phases=(Phase.generate,))
