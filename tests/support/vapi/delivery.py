"""Sends webhooks: signed, from a few threads, again after an answer that asks for it.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import threading
import time
import urllib.parse

THREADS = 8
EXCLUDED = (400, 401, 403, 404, 413, 422)  # never sent again


def sign(auth, body, at_ms):
    """The headers of one delivery; `auth`: {"mode": "hmac" | "bearer" | "secret", "secret"}."""
    mode, secret = auth.get("mode", "hmac"), auth.get("secret", "")
    if mode == "bearer":
        return {"Authorization": f"Bearer {secret}"}
    if mode == "secret":
        return {"X-Vapi-Secret": secret}
    stamp = str(at_ms if auth.get("unit", "ms") == "ms" else at_ms // 1000)
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"x-timestamp": stamp, "x-signature": digest}


class Delivery:
    def __init__(self, url, auth, retries=10, backoff_s=2.0, timeout_s=20.0):
        self.url = urllib.parse.urlsplit(url)
        self.auth = auth
        self.retries, self.backoff_s, self.timeout_s = retries, backoff_s, timeout_s
        self.queue, self.turn = [], itertools.count()
        self.changed = threading.Condition()
        self.under_way = 0
        self.is_closing = False
        self.local = threading.local()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def post(self, body, timeout_s=None):
        """One request: (HTTP status, body), or (None, what went wrong)."""
        raw = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json",
                   **sign(self.auth, raw, int(time.time() * 1000))}
        connection = getattr(self.local, "connection", None)
        self.local.connection = None
        for attempt in (1, 2):  # a connection kept alive may have been closed by the other side
            fresh = connection is None
            try:
                if fresh:
                    connection = http.client.HTTPConnection(self.url.hostname, self.url.port,
                                                            timeout=timeout_s or self.timeout_s)
                    connection.connect()
                connection.sock.settimeout(timeout_s or self.timeout_s)
                connection.request("POST", self.url.path or "/", raw, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.will_close:
                    connection.close()
                else:
                    self.local.connection = connection
                return answer.status, said
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = None
                if fresh or attempt == 2 or isinstance(error, TimeoutError):
                    return None, f"{type(error).__name__}: {error}"
        return None, "unreachable"

    def send(self, call, body, delay_s=0.0, attempt=0):
        with self.changed:
            heapq.heappush(self.queue, (time.monotonic() + delay_s, next(self.turn), call, body, attempt))
            self.changed.notify()

    def _next(self):
        with self.changed:
            while not self.is_closing:
                wait = self.queue[0][0] - time.monotonic() if self.queue else None
                if wait is not None and wait <= 0:
                    self.under_way += 1
                    return heapq.heappop(self.queue)
                self.changed.wait(wait)
        return None

    def _work(self):
        while (item := self._next()) is not None:
            _, _, call, body, attempt = item
            kind = body["message"]["type"]
            status, said = self.post(body)
            call.deliveries.append((kind, status if status is not None else said))
            is_taken = status is not None and (200 <= status < 300 or status in EXCLUDED)
            if not is_taken and attempt < self.retries and not self.is_closing:
                self.send(call, body, min(self.backoff_s * 2 ** attempt, 60.0), attempt + 1)
            with self.changed:  # last, so that what will be sent again never looks like nothing to do
                self.under_way -= 1
                self.changed.notify_all()

    def is_idle(self):
        with self.changed:
            return not self.queue and self.under_way == 0

    def forget(self):
        with self.changed:
            self.queue.clear()

    def close(self):
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(timeout=5)
