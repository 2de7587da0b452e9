"""One call as Vapi keeps it, and the webhook bodies made from it (shapes: vendors.md A.1 to A.4).

SPDX-License-Identifier: Apache-2.0
"""

import datetime
import uuid

from support.vapi.faults import now_ms

# Vapi's own, where the answer names none.
MAX_DURATION_DEFAULT_S = 600
COST_PER_MINUTE = {"vapi": 0.05, "transport": 0.0085, "transcriber": 0.01}


def iso(at_ms):
    if at_ms is None:
        return None
    when = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


class Call:
    def __init__(self, kind, phone_number, customer, control_base, org_id, **more):
        self.id = str(uuid.uuid4())
        self.org_id = org_id
        self.kind = kind  # inboundPhoneCall, outboundPhoneCall, webCall
        self.phone_number = phone_number  # {"id", "number", ...} or None
        self.customer = customer
        self.status = "ringing" if kind == "inboundPhoneCall" else "queued"
        self.created_ms = self.updated_ms = now_ms()
        self.started_ms = self.ended_ms = None
        self.ended_reason = None
        self.assistant_id = more.get("assistant_id")
        self.overrides = more.get("overrides") or {}
        self.name = more.get("name")
        self.cost = None
        self.control_url = f"{control_base}/{self.id}/control-{uuid.uuid4().hex}"
        # Not Vapi's: what happened to it here, for tests.
        self.answer = None       # to the assistant-request: (HTTP status or None, body or None)
        self.said = []           # what live call control was told
        self.deliveries = []     # (type, HTTP status or what went wrong)
        self.talk_ms = more.get("talk_ms")  # what the times will say, whatever the clock did
        self.ringing = self.snapshot()

    @property
    def max_duration_s(self):
        return self.overrides.get("maxDurationSeconds", MAX_DURATION_DEFAULT_S)

    def touch(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        self.updated_ms = now_ms()

    def start(self):
        self.touch(status="in-progress", started_ms=now_ms())

    def end(self, reason):
        ended = now_ms()
        if self.talk_ms is not None and self.started_ms is not None:
            self.started_ms = ended - self.talk_ms
        self.touch(status="ended", ended_ms=ended, ended_reason=reason)
        self.cost = round(sum(self.minutes * each for each in COST_PER_MINUTE.values()), 4)

    @property
    def duration_ms(self):
        return None if self.started_ms is None else self.ended_ms - self.started_ms

    @property
    def minutes(self):
        return round((self.duration_ms or 0) / 60000, 4)

    def costs(self):
        return [
            {"type": "transport", "provider": "twilio", "minutes": self.minutes,
             "cost": round(self.minutes * COST_PER_MINUTE["transport"], 4)},
            {"type": "vapi", "subType": "normal", "minutes": self.minutes,
             "cost": round(self.minutes * COST_PER_MINUTE["vapi"], 4)},
            {"type": "transcriber", "minutes": self.minutes,
             "cost": round(self.minutes * COST_PER_MINUTE["transcriber"], 4)},
        ]

    def snapshot(self):
        """The Call object of REST answers and webhooks."""
        found = {
            "id": self.id, "orgId": self.org_id, "type": self.kind, "status": self.status,
            "createdAt": iso(self.created_ms), "updatedAt": iso(self.updated_ms),
            "phoneNumberId": self.phone_number["id"] if self.phone_number else None,
            "assistantId": self.assistant_id, "customer": self.customer,
        }
        if self.overrides:
            found["assistantOverrides"] = self.overrides
        if self.name:
            found["name"] = self.name
        if self.status in ("in-progress", "ended", "forwarding"):
            found["monitor"] = {"listenUrl": "wss://nobody.invalid/listen", "controlUrl": self.control_url}
        if self.started_ms is not None:
            found["startedAt"] = iso(self.started_ms)
        if self.status == "ended":
            found.update(endedAt=iso(self.ended_ms), endedReason=self.ended_reason, cost=self.cost,
                         costs=self.costs())
        return found

    def message(self, kind, **members):
        body = {"type": kind, "timestamp": now_ms(), "call": self.snapshot(), **members}
        if self.phone_number:
            body["phoneNumber"] = {"id": self.phone_number["id"], "orgId": self.org_id,
                                   "number": self.phone_number["number"], "provider": "twilio",
                                   "assistantId": None}
        if self.customer:
            body["customer"] = self.customer
        return {"message": body}

    def status_update(self, status):
        if status == "ended":
            return self.message("status-update", status=status, endedReason=self.ended_reason)
        return self.message("status-update", status=status)

    def report(self, faults):
        body = self.message("end-of-call-report", endedReason=self.ended_reason,
                            analysis={"summary": "…"},
                            artifact={"messages": [], "transcript": "AI: Hello"})
        message = body["message"]
        if faults.stale_snapshot:
            message["call"] = {**self.ringing, "assistantOverrides": self.overrides}
        if faults.report in (None, "no-times"):
            message.update(cost=self.cost, costs=self.costs())
        if faults.report is None and self.started_ms is not None:
            message.update(startedAt=iso(self.started_ms), endedAt=iso(self.ended_ms))
        if faults.report == "stated":
            message["durationSeconds"] = (self.duration_ms or 0) / 1000
        if faults.report_duration_s is not None:
            message.update(startedAt=iso(self.ended_ms - int(faults.report_duration_s * 1000)),
                           endedAt=iso(self.ended_ms))
        return body
