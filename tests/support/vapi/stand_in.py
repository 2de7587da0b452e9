"""The switchboard: calls come in, are talked over and end; what Vapi would do at each step.

SPDX-License-Identifier: Apache-2.0
"""

import json
import threading

from support.vapi.calls import Call
from support.vapi.delivery import Delivery
from support.vapi.faults import Faults
from support.vapi.server import Server

ORG_ID = "0d6b8c1e-9a51-4c0e-8a7e-5c2f0f6f1d22"
ASSISTANT_REQUEST_TIMEOUT_S = 7.5


class StandIn:
    """`webhook_url`: where messages go; `auth`: as delivery.sign(); `api_key`: what REST asks for.

    `ring_s`: from an admitted assistant-request, or POST /call, until somebody answers.
    `report_s`: from the end of a call to its report.
    """

    def __init__(self, webhook_url=None, secret="stand-in-secret", auth=None, api_key="stand-in-key",
                 port=0, faults=None, ring_s=0.02, report_s=0.05, retries=10, backoff_s=0.2):
        self.auth = auth or {"mode": "hmac", "secret": secret}
        self.api_key = api_key
        self.faults = faults or Faults()
        self.ring_s, self.report_s = ring_s, report_s
        self.retries, self.backoff_s = retries, backoff_s
        self.second_s = 1.0  # how long a second of maxDurationSeconds takes
        self.lock = threading.RLock()
        self.calls = {}
        self.phone_numbers = {}
        self.assistants = {}
        self.timers = set()
        self.requests = []  # of REST: (method, path with query)
        self.stopping = threading.Event()
        self.server = Server(self, port)
        self.delivery = None
        if webhook_url:
            self.point_at(webhook_url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.port}"

    def point_at(self, webhook_url):
        """Where webhooks go from now on."""
        if self.delivery is not None:
            self.delivery.close()
        self.delivery = Delivery(webhook_url, self.auth, self.retries, self.backoff_s)

    def add_phone_number(self, number_id, number, **members):
        self.phone_numbers[number_id] = {"id": number_id, "orgId": ORG_ID, "number": number,
                                         "provider": "twilio", "assistantId": None, **members}
        return number_id

    def add_assistant(self, assistant_id, **members):
        self.assistants[assistant_id] = {"id": assistant_id, "orgId": ORG_ID, **members}
        return assistant_id

    def after(self, seconds, act, *arguments):
        """Runs it later, unless the stand-in was closed."""
        def run():
            with self.lock:
                self.timers.discard(timer)
            if not self.stopping.is_set():
                act(*arguments)
        timer = threading.Timer(seconds, run)
        timer.daemon = True
        with self.lock:
            self.timers.add(timer)
        timer.start()

    def call(self, call_id):
        with self.lock:
            return self.calls.get(call_id)

    def _keep(self, call):
        with self.lock:
            self.calls[call.id] = call
        return call

    # Inbound.

    def dial_in(self, number_id, caller="+2348012345678", talk_ms=None, hang_up_after_s=None):
        """Somebody dials one of our numbers; returns once the gate was asked."""
        call = self._keep(Call("inboundPhoneCall", self.phone_numbers[number_id], {"number": caller},
                               f"{self.url}/control", ORG_ID, talk_ms=talk_ms))
        status, said = self.delivery.post(call.message("assistant-request"), ASSISTANT_REQUEST_TIMEOUT_S)
        call.deliveries.append(("assistant-request", status if status is not None else said))
        self._obey(call, status, said)
        if call.status == "ringing":
            if self.ring_s > 0:
                self.after(self.ring_s, self.pick_up, call.id)
            else:
                self.pick_up(call.id)
            if hang_up_after_s is not None:
                self.after(self.ring_s + hang_up_after_s, self.hang_up, call.id)
        return call

    def _obey(self, call, status, said):
        """What Vapi makes of the answer to an assistant-request."""
        body = None
        if status is not None:
            try:
                body = json.loads(said)
            except ValueError:
                body = None
        call.answer = (status, body)
        if status != 200 or not isinstance(body, dict):
            self._refuse(call, "assistant-request-failed")
        elif body.get("error"):
            call.said.append({"type": "say", "content": body["error"]})
            self._refuse(call, "assistant-request-returned-error")
        elif body.get("destination"):
            call.touch(status="forwarding")
            call.end("assistant-forwarded-call")
        elif not any(body.get(key) for key in ("assistantId", "assistant", "squadId", "workflowId")):
            self._refuse(call, "assistant-request-returned-no-assistant")
        elif not 10 <= (body.get("assistantOverrides") or {}).get("maxDurationSeconds", 600) <= 43200:
            self._refuse(call, "assistant-request-returned-invalid-assistant")
        else:
            call.touch(assistant_id=body.get("assistantId"), overrides=body.get("assistantOverrides") or {})

    @staticmethod
    def _refuse(call, reason):
        call.end(reason)
        call.cost = 0

    # Any call.

    def pick_up(self, call_id):
        call = self.call(call_id)
        with self.lock:
            if call is None or call.status not in ("queued", "ringing"):
                return
            call.start()
        self._tell(call, call.status_update("in-progress"))
        if not self.faults.never_ends:
            self.after(call.max_duration_s * self.second_s, self.hang_up, call.id, "exceeded-max-duration")

    def miss(self, call_id, reason="customer-did-not-answer"):
        """Nobody answers: such calls end without a report (vendors.md D3)."""
        call = self.call(call_id)
        with self.lock:
            if call.status == "ended":
                return
            call.end(reason)
        self._tell(call, call.status_update("ended"))

    def hang_up(self, call_id, reason="customer-ended-call", talk_ms=None):
        """Ends it; `talk_ms`: what its times will say."""
        call = self.call(call_id)
        with self.lock:
            if call is None or call.status == "ended":
                return
            if talk_ms is not None:
                call.talk_ms = talk_ms
            call.end(reason)
        self._tell(call, call.status_update("ended"))
        if self.faults.report != "none" and call.started_ms is not None:
            self.after(self.report_s, lambda: self._tell(call, call.report(self.faults)))

    def _tell(self, call, body):
        for delay in self.faults.deliveries(body["message"]["type"]):
            self.delivery.send(call, body, delay)

    def tell_again(self, call_id, kind="end-of-call-report"):
        """One more delivery of a call's last message of that kind."""
        call = self.call(call_id)
        body = call.report(self.faults) if kind == "end-of-call-report" else call.status_update(call.status)
        self.delivery.send(call, body)

    def ask(self, body):
        """A webhook of the test's own making, answered: (HTTP status, body)."""
        return self.delivery.post(body)

    # Live call control.

    def control(self, call, body):
        """The HTTP status."""
        kind = body.get("type")
        call.said.append(body)
        if kind == "end-call":
            if self.faults.end_call == 500:
                return 500
            if self.faults.end_call is None:
                self.after(0, self.hang_up, call.id, "manually-canceled")
            return 200
        if kind == "say" and body.get("endCallAfterSpoken") and self.faults.end_call is None:
            self.after(0.05, self.hang_up, call.id, "assistant-ended-call-after-message-spoken")
        return 200

    # Outbound.

    def create(self, body, kind="outboundPhoneCall"):
        number = self.phone_numbers.get(body.get("phoneNumberId"))
        call = self._keep(Call(kind, number, body.get("customer"), f"{self.url}/control", ORG_ID,
                               assistant_id=body.get("assistantId"),
                               overrides=body.get("assistantOverrides"), name=body.get("name")))
        self.after(self.ring_s, self.pick_up, call.id)
        return call

    def is_idle(self):
        """Nothing is being sent, nor waits for it."""
        return self.delivery.is_idle()

    def forget(self):
        """All calls, numbers, assistants and faults; what waited to be sent is not."""
        with self.lock:
            for timer in self.timers:
                timer.cancel()
            self.timers.clear()
            for known in (self.calls, self.phone_numbers, self.assistants, self.requests):
                known.clear()
            self.faults = Faults()
        self.delivery.forget()

    def close(self):
        self.stopping.set()
        with self.lock:
            timers = list(self.timers)
        for timer in timers:
            timer.cancel()
        if self.delivery is not None:
            self.delivery.close()
        self.server.close()
