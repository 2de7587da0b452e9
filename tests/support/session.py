"""Gate.Session from Python: operations in flight as futures, and a load on one stream.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import queue
import threading
import time

import grpc

from support.client import Client
from support.contract import pb
from support.load import Load

REQUESTS = {"authorize": pb.AuthorizeRequest, "start": pb.StartRequest, "stop": pb.StopRequest,
            "settle": pb.SettleRequest, "cancel": pb.CancelRequest, "adopt": pb.AdoptRequest}
VOICE = {"resource_type": "voice_outbound", "destination": "+14155550100"}


class Ended(Exception):
    """The stream ended without this answer; `code` says how."""

    def __init__(self, code):
        super().__init__(f"the session ended {code}")
        self.code = code


class Session:
    """One stream.  `ask()` gives a future of the whole SessionResponse."""

    def __init__(self, client, timeout=None):
        self.outgoing = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.unanswered = {}
        self.next_tag = 1
        self.code = None
        self.call = client.gate.Session(iter(self.outgoing.get, None), timeout=timeout)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def ask(self, name, company, call, **fields):
        if name in ("authorize", "adopt"):
            fields = {**VOICE, **fields}
        request = REQUESTS[name](company_id=company, call_id=call, **fields)
        future = concurrent.futures.Future()
        with self.lock:
            if self.code is not None:
                raise Ended(self.code)
            tag, self.next_tag = self.next_tag, self.next_tag + 1
            self.unanswered[tag] = future
            self.outgoing.put(pb.SessionRequest(tag=tag, **{name: request}))
        return future

    def answer(self, name, company, call, timeout=10, **fields):
        """The operation's own answer, which must be one."""
        response = self.ask(name, company, call, **fields).result(timeout)
        assert response.status_code == 0, response
        assert response.WhichOneof("op") == name
        return getattr(response, name)

    def _read(self):
        code = grpc.StatusCode.OK
        try:
            for response in self.call:
                with self.lock:
                    future = self.unanswered.pop(response.tag)
                future.set_result(response)
        except grpc.RpcError as error:
            code = error.code()
        with self.lock:
            self.code = code
            left, self.unanswered = self.unanswered, {}
        for future in left.values():
            future.set_exception(Ended(code))

    def finish(self, timeout=20):
        """Half-close; how the stream ended."""
        self.outgoing.put(None)
        self.reader.join(timeout)
        assert not self.reader.is_alive(), "the session does not end"
        return self.code

    def close(self):
        self.call.cancel()
        self.finish()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SessionLoad(Load):
    """A Load whose workers share one session; where it ends, the next one asks again by the same
    keys."""

    def __init__(self, address, companies, count, workers=64, **more):
        super().__init__([address], companies, count, workers, **more)
        self.client = Client(address)
        self.session = None
        self.sessions = 0
        self.session_lock = threading.Lock()

    def _current(self):
        with self.session_lock:
            if self.session is None or self.session.code is not None:
                self.session = Session(self.client)
                self.sessions += 1
            return self.session

    def join(self):
        super().join()
        if self.session is not None:
            self.session.close()
        self.client.close()
        return self

    def _ask(self, _clients, _turn, method, company, call, *args, **fields):
        if args:
            fields["duration_ms"] = args[0]
        for _ in range(2000):
            try:
                response = self._current().ask(method, company, call, **fields).result(30)
            except Ended as ended:
                self.codes[f"session {ended.code.name}"] += 1
                time.sleep(0.02)
                continue
            code = next(c for c in grpc.StatusCode if c.value[0] == response.status_code)
            self.codes[code.name] += 1
            if code is grpc.StatusCode.OK:
                return getattr(response, method)
            assert code in self.retried, response
            time.sleep(0.02)
        raise AssertionError(f"{method} {call}: no answer")
