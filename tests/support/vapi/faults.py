"""What goes wrong, and how often.  Everything random comes from one seeded source.

SPDX-License-Identifier: Apache-2.0
"""

import random
import threading
import time

TRANSIENT = ("status-update", "end-of-call-report")


class Faults:
    """Shares of webhooks (0..1), and rules for REST requests.

    duplicated, reordered, lost   of status-update and end-of-call-report, each drawn by itself
    late_ms                       how late a reordered one, or a duplicate, comes
    report                        None; "none": no report is ever sent; "no-times": without startedAt
                                  and endedAt, with costs; "bare": without anything that says how long;
                                  "stated": durationSeconds alone
    report_duration_s             what the report claims, whatever was talked
    stale_snapshot                the report's `call` is as it was when it rang (as captured)
    end_call                      what the control URL answers to end-call: None (it ends), 500 (it does
                                  not), "ignored" (200, and it goes on)
    never_ends                    maxDurationSeconds does not cut, and GET says in-progress for ever
    create                        POST /call: None; "lost": made, and the answer never comes;
                                  "refused": 400
    """

    def __init__(self, seed=1, **values):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.duplicated = self.reordered = self.lost = 0.0
        self.late_ms = 300
        self.report = None
        self.report_duration_s = None
        self.stale_snapshot = True
        self.end_call = None
        self.never_ends = False
        self.create = None
        self.rest = []
        self.set(**values)

    def set(self, **values):
        with self.lock:
            for name, value in values.items():
                if name in ("lock", "random") or name not in self.__dict__:
                    raise ValueError(f"there is no fault {name!r}")
                setattr(self, name, value)

    def fail(self, path, what, times=1, method=None):
        """The next `times` REST requests whose path begins so: an HTTP status, or "timeout"."""
        with self.lock:
            self.rest.append({"path": path, "what": what, "left": times, "method": method})

    def of_request(self, method, path):
        with self.lock:
            for rule in self.rest:
                if rule["left"] and path.startswith(rule["path"]) and rule["method"] in (None, method):
                    rule["left"] -= 1
                    return rule["what"]
        return None

    def _draws(self, share):
        return share > 0 and self.random.random() < share

    def deliveries(self, kind):
        """When (in seconds from now) a webhook is sent: empty where it is lost."""
        if kind not in TRANSIENT:
            return [0.0]
        with self.lock:
            if self._draws(self.lost):
                return []
            late = self.late_ms / 1000
            first = late * self.random.random() if self._draws(self.reordered) else 0.0
            times = [first]
            if self._draws(self.duplicated):
                times.append(first + late * self.random.random())
            return times


def stall(stopping, seconds=30):
    """A request that nobody answers."""
    stopping.wait(seconds)


def now_ms():
    return int(time.time() * 1000)
