"""The one way in which tests wait.

SPDX-License-Identifier: Apache-2.0
"""

import time


class TimedOut(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition, timeout=10.0, what=None, every=0.01):
    """Calls condition() until it answers something true, and returns that.

    An AssertionError inside condition() counts as "not yet"; the last one is part of the
    message when the time is over.
    """
    end = time.monotonic() + timeout
    trouble = None
    while True:
        try:
            answer = condition()
            trouble = None
            if answer:
                return answer
        except AssertionError as error:
            trouble = error
        if time.monotonic() >= end:
            what = what() if callable(what) else what
            raise TimedOut(f"not within {timeout} s: {what or condition}"
                           + (f": {trouble}" if trouble else ""))
        time.sleep(every)
