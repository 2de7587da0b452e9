"""One callgate-edge between a stack and a stand-in of Vapi.

SPDX-License-Identifier: Apache-2.0
"""

import http.client
import json
import re
import socket
import time
import uuid

from support.postgres_server import EDGE_ROLE
from support.processes import Process, program
from support.vapi.delivery import sign
from support.waiting import wait_until

SECRET = "stand-in-secret"
API_KEY = "stand-in-key"
API_TOKEN = "token-of-the-tests"
WEBHOOK = "/api/webhooks/vapi"

# Short enough for tests, in the same order of magnitude to each other as the defaults.
QUICK = {"look_after_ms": 400, "look_again_ms": 300, "settings_ms": 50, "poll_ms": 100, "alarm_ms": 1000,
         "goodbye_ms": 200, "provider_ms": 1500, "least_seconds": 10, "sweep_ms": 0, "margin_ms": 2000,
         "control_hosts": "127.0.0.1", "upstream_hosts": "127.0.0.1", "allow_private": 1}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Edge:
    """`environment` replaces variables; a value of None takes one away."""

    def __init__(self, stack, vapi_url, name="callgate-edge", directory=None, environment=None, **settings):
        self.stack = stack
        self.counted = {}  # where counters stood when this test began
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = stack.postgres.url(stack.database, EDGE_ROLE)
        self.settings = {"listen": f"127.0.0.1:{self.port}", "gate": stack.sidecar.address,
                         "database_url": self.database_url, "vapi_url": vapi_url, **QUICK, **settings}
        env = {"VAPI_API_KEY": API_KEY, "VAPI_WEBHOOK_SECRET": SECRET, "CALLGATE_EDGE_API_TOKEN": API_TOKEN,
               "VAPI_ORG_ID": "0d6b8c1e-9a51-4c0e-8a7e-5c2f0f6f1d22", **(environment or {})}
        flags = [word for key, value in self.settings.items()
                 for word in (f"--{key.replace('_', '-')}", value)]
        self.process = Process(name, [program("callgate-edge", directory or stack.build), *flags],
                               stack.directory / f"{name}-{uuid.uuid4().hex[:6]}.log",
                               {key: value for key, value in env.items() if value is not None})
        for key, value in env.items():
            if value is None:
                self.process.env.pop(key, None)

    def start(self):
        self.process.start()
        self.process.wait_until_ready(self.is_serving)
        return self

    def request(self, method, path, body=None, headers=None, timeout=10):
        """(HTTP status, JSON or text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(raw)
        except ValueError:
            return answer.status, raw.decode(errors="replace")

    def is_serving(self):
        try:
            return self.request("GET", "/healthz", timeout=1)[0] == 200
        except OSError:
            return False

    def webhook(self, body, auth=None, at_ms=None, raw=None):
        """A webhook of the test's own making, rightly signed unless said otherwise."""
        raw = json.dumps(body).encode() if raw is None else raw
        at_ms = int(time.time() * 1000) if at_ms is None else at_ms
        return self.request("POST", WEBHOOK, raw,
                            sign(auth or {"mode": "hmac", "secret": SECRET}, raw, at_ms))

    def api(self, path, body, token=API_TOKEN):
        return self.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {token}"})

    def counters(self):
        """Of /metrics, by their short names."""
        return {name: int(value) for name, value in re.findall(
            r"^callgate_edge_(\w+)_total (\d+)$", self.request("GET", "/metrics")[1], re.M)}

    def count(self, name):
        """What this test counted."""
        return self.counters()[name] - self.counted.get(name, 0)

    def live_calls(self):
        """How many running calls it knows."""
        return int(re.search(r"^callgate_edge_live_calls (\d+)$", self.request("GET", "/metrics")[1], re.M)[1])

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process.is_alive():
            assert self.process.terminate() == 0, self.process.tail()


class World:
    """A stack, a stand-in and an edge, with a number of a company that has money."""

    def __init__(self, stack, vapi, edge):
        self.stack, self.vapi, self.edge = stack, vapi, edge
        self.given = vapi.ring_s, vapi.report_s

    def begin(self):
        """A test's own, on a world that others had before it."""
        self.edge.counted = self.edge.counters()

    def clear(self):
        """Calls of this test are nobody's any more: what they left behind must not meet the next one."""
        ring_s, report_s = self.given
        self.vapi.forget()
        wait_until(self.vapi.is_idle, 10)
        self.vapi.ring_s, self.vapi.report_s = ring_s, report_s
        self.stack.sql("update callgate.edge_calls set state = 'closed', closed_at = now() where state <> 'closed'")
        for table in ("sentences", "numbers", "reviews", "controls"):
            self.stack.sql(f"delete from callgate.edge_{table}")

    @property
    def client(self):
        return self.stack.client

    def add_number(self, company, number_id=None, number="+15550100200", assistant_id="assistant-1",
                   **columns):
        """Answers its id once the edge knows it."""
        number_id = number_id or f"pn-{uuid.uuid4().hex[:12]}"
        self.vapi.add_phone_number(number_id, number)
        if "upstream_url" in columns:
            assistant_id = None
        names = "".join(f", {name}" for name in columns)
        self.stack.sql(f"insert into callgate.edge_numbers (phone_number_id, number, company_id, assistant_id"
                       f"{names}) values (%s, %s, %s, %s{', %s' * len(columns)})",
                       [number_id, number, company, assistant_id, *columns.values()])
        self.settle_in()
        return number_id

    def settle_in(self):
        """Until what was written to the edge's tables is in force."""
        version = self.stack.value("select version from callgate.edge_version")
        wait_until(lambda: f'msg="numbers read" version={version}' in self.edge.process.text(), 10,
                   "the edge has read its numbers")

    def company(self, micros=5_000_000, **columns):
        """(company, phone number id): funded, and callable."""
        company = self.client.funded(micros)
        return company, self.add_number(company, **columns)

    def row(self, call_id):
        """Of edge_calls, as a dictionary; None where there is none."""
        found = self.stack.sql("select row_to_json(c) from callgate.edge_calls c where call_id = %s", [call_id])
        return found[0][0] if found else None

    def granted_ms(self, call_id):
        """As noted of a call that was let in, beside its answer."""
        return wait_until(lambda: (self.row(call_id) or {}).get("granted_ms"), 5, f"the grant of {call_id} is noted")

    def usage(self, company):
        """Its usage rows, the oldest first: (cost in micros, meta)."""
        return self.stack.sql(
            "select callgate.to_micros(u.cost, w.currency)::bigint, u.meta from usage_logs u"
            " join wallets w using (company_id) where company_id = %s order by u.created_at, u.id", [company])

    def costs(self, company):
        return [cost for cost, _ in self.usage(company)]

    def reviews(self, call_id):
        return {row[0] for row in self.stack.sql(
            "select what from callgate.edge_reviews where call_id = %s", [call_id])}

    def wait_for_state(self, call_id, state, timeout=10):
        return wait_until(lambda: (self.row(call_id) or {}).get("state") == state and self.row(call_id), timeout,
                          lambda: f"{call_id} is {state}: {self.row(call_id)}")

    def wait_until_charged(self, call_id, timeout=15):
        return wait_until(lambda: (self.row(call_id) or {}).get("state") == "closed" and self.row(call_id),
                          timeout, lambda: f"{call_id} is closed: {self.row(call_id)}\n"
                                           f"{self.edge.process.tail(20)}")

