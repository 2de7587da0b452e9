"""Somebody who watches: a thread that takes what Wallets.Watch says and notes when it came.

SPDX-License-Identifier: Apache-2.0
"""

import threading
import time

import grpc

from support.contract import pb
from support.waiting import wait_until


class Watcher:
    def __init__(self, client, company="", token="", types=()):
        self.events = []      # as they came, duplicates included
        self.arrivals = {}    # event id -> when it came first, by time.time()
        self.token = token    # the last one that was not empty
        self.heartbeats = 0
        self.status = None    # how it ended
        self.stream = client.wallets.Watch(pb.WatchRequest(
            company_id=company, resume_token=token, types=types))
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        try:
            for answer in self.stream:
                if answer.HasField("event"):
                    self.arrivals.setdefault(answer.event.id, time.time())
                    self.events.append(answer.event)
                else:
                    self.heartbeats += 1
                if answer.resume_token:
                    self.token = answer.resume_token
        except grpc.RpcError as error:
            self.status = error.code()

    def begin(self, timeout=10):
        """From here on nothing is missed."""
        wait_until(lambda: self.token, timeout, "the watcher knows where it is")
        return self

    def of(self, *types, company=None, call=None):
        return [e for e in list(self.events) if e.type in types
                and (company is None or e.company_id == company)
                and (call is None or e.call_id == call)]

    def wait_for(self, count, *types, timeout=20, **which):
        """At least so many of these; answers them."""
        wait_until(lambda: len(self.of(*types, **which)) >= count, timeout,
                   lambda: f"{count} of {types} {which}, not {self.events}")
        return self.of(*types, **which)

    def lateness_ms(self, event):
        """How long after T* it came; the store's clock is this machine's."""
        return self.arrivals[event.id] * 1000 - event.exhausts_at_ms

    def kill(self):
        """As if the process were gone."""
        self.stream.cancel()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def wait_until_ended(self, timeout=20):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the watch goes on"
        return self.status
