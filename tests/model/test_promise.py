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
from promise_run import Overspent, Run
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


def test_the_promise_is_kept(redis, number):
    load(redis)

    @seed(number)
    @settings_of(20_000 if LONG else 400)
    @given(schedules())
    def is_kept(schedule):
        run = None
        try:
            run = Run(redis, schedule)
            run.run()
        except BaseException:
            note('%s\n%s' % (schedule, run and run.story()))
            raise

    is_kept()
