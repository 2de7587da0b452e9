"""The stand-in of Vapi does what vendors.md says, and each of its faults is one.

A small HTTP server here stands where the edge will: it writes down what comes and answers as told.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import hmac
import http.server
import json
import threading
import urllib.error
import urllib.request

import pytest

from support.vapi import StandIn
from support.waiting import wait_until

ADMIT = {"assistantId": "a1", "assistantOverrides": {"maxDurationSeconds": 60}}


class Receiver:
    """Answers webhooks; `answers[type]` is a (status, body) or a list of them, the last one staying."""

    def __init__(self):
        self.got, self.answers = [], {"assistant-request": (200, ADMIT)}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):  # noqa: N802
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                message = json.loads(raw)["message"]
                receiver.got.append((message, dict(self.headers), raw))
                answer = receiver.answers.get(message["type"], (200, {}))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                said = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/api/webhooks/vapi"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @staticmethod
    def kind(message):
        return message["type"] + (":" + message["status"] if "status" in message else "")

    def kinds(self):
        return [self.kind(message) for message, _, _ in self.got]

    def only(self, kind):
        [found] = [message for message, _, _ in self.got if self.kind(message) == kind]
        return found

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def vapi(receiver):
    with StandIn(receiver.url, ring_s=0, report_s=0.01, backoff_s=0.02) as found:
        found.add_phone_number("pn-1", "+15550100200")
        yield found


def rest(vapi, path, body=None, key="stand-in-key"):
    request = urllib.request.Request(vapi.url + path, json.dumps(body).encode() if body is not None else None,
                                     {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_call_is_asked_for_answered_ended_and_reported(vapi, receiver):
    call = vapi.dial_in("pn-1")
    assert call.status == "in-progress" and call.max_duration_s == 60
    vapi.hang_up(call.id, talk_ms=59750)
    # One may overtake another on its way.
    wait_until(lambda: sorted(receiver.kinds()) == sorted([
        "assistant-request", "status-update:in-progress", "status-update:ended", "end-of-call-report"]), 5)
    asked, update, report = receiver.only("assistant-request"), receiver.only(
        "status-update:in-progress"), receiver.only("end-of-call-report")
    assert asked["call"]["assistantId"] is None and asked["call"]["phoneNumberId"] == "pn-1"
    assert update["call"]["monitor"]["controlUrl"].startswith(vapi.url)
    assert call.duration_ms == 59750 and report["costs"][1]["minutes"] == round(59750 / 60000, 4)
    assert report["call"]["status"] == "ringing", "as captured: a stale snapshot"


def test_webhooks_are_signed_over_the_raw_bytes(vapi, receiver):
    vapi.dial_in("pn-1")
    _, headers, raw = receiver.got[0]
    expected = hmac.new(b"stand-in-secret", headers["x-timestamp"].encode() + b"." + raw, hashlib.sha256)
    assert headers["x-signature"] == expected.hexdigest()


@pytest.mark.parametrize("auth, header", [
    ({"mode": "bearer", "secret": "s"}, ("Authorization", "Bearer s")),
    ({"mode": "secret", "secret": "s"}, ("X-Vapi-Secret", "s"))])
def test_the_older_ways_to_authenticate(vapi, receiver, auth, header):
    vapi.auth = auth
    vapi.point_at(receiver.url)
    vapi.dial_in("pn-1")
    assert receiver.got[0][1][header[0]] == header[1]


@pytest.mark.parametrize("answer, reason", [
    ((200, {"error": "No credit."}), "assistant-request-returned-error"),
    ((402, {"error": "No credit."}), "assistant-request-failed"),
    ((200, {}), "assistant-request-returned-no-assistant"),
    ((200, {"assistantId": "a", "assistantOverrides": {"maxDurationSeconds": 9}}),
     "assistant-request-returned-invalid-assistant"),
    ((200, {"destination": {"type": "number", "number": "+15550100999"}}), "assistant-forwarded-call")])
def test_what_is_not_admitted_ends_without_a_report(vapi, receiver, answer, reason):
    receiver.answers["assistant-request"] = answer
    call = vapi.dial_in("pn-1")
    assert (call.status, call.ended_reason) == ("ended", reason)
    assert call.started_ms is None and receiver.kinds() == ["assistant-request"]


def test_it_sends_again_until_it_is_taken_and_never_after_400(vapi, receiver):
    receiver.answers["end-of-call-report"] = [(503, {}), (500, {}), (200, {})]
    receiver.answers["status-update"] = (400, {})
    call = vapi.dial_in("pn-1")
    vapi.hang_up(call.id)
    wait_until(lambda: [d for d in call.deliveries if d == ("end-of-call-report", 200)] and len(call.deliveries) == 6, 5)
    assert [d[1] for d in call.deliveries if d[0] == "end-of-call-report"] == [503, 500, 200]
    assert [d[1] for d in call.deliveries if d[0] == "status-update"] == [400, 400]


def test_shares_of_webhooks_are_lost_and_doubled(vapi, receiver):
    vapi.faults.set(lost=1.0)
    call = vapi.dial_in("pn-1")
    vapi.miss(call.id)
    vapi.faults.set(lost=0.0, duplicated=1.0, late_ms=10)
    second = vapi.dial_in("pn-1")
    wait_until(lambda: receiver.kinds().count("status-update:in-progress") == 2, 5)
    assert not [d for d in call.deliveries if d[0] != "assistant-request"]
    wait_until(lambda: len([d for d in second.deliveries if d[0] == "status-update"]) == 2, 5)


@pytest.mark.parametrize("fault, present, absent", [
    ("no-times", ["costs"], ["startedAt", "endedAt", "durationSeconds"]),
    ("bare", [], ["startedAt", "endedAt", "durationSeconds", "costs", "cost"]),
    ("stated", ["durationSeconds"], ["startedAt", "endedAt", "costs"])])
def test_reports_without_what_one_would_expect(vapi, receiver, fault, present, absent):
    vapi.faults.set(report=fault)
    vapi.hang_up(vapi.dial_in("pn-1").id)
    wait_until(lambda: "end-of-call-report" in receiver.kinds(), 5)
    report = receiver.only("end-of-call-report")
    assert all(key in report for key in present) and not any(key in report for key in absent)


def test_rest_reads_calls_with_filters_and_no_pages(vapi):
    first, second = vapi.dial_in("pn-1"), vapi.dial_in("pn-1")
    second.created_ms += 5
    status, found = rest(vapi, f"/call/{first.id}")
    assert status == 200 and found["status"] == "in-progress" and "endedAt" not in found
    assert [call["id"] for call in rest(vapi, "/call?limit=1&page=2")[1]] == [second.id]
    assert [call["id"] for call in rest(vapi, f"/call?createdAtLt={found['createdAt'][:-1]}zZ")[1]]
    assert rest(vapi, "/call/none")[0] == 404 and rest(vapi, "/call", key="wrong")[0] == 401


def test_the_control_url_says_and_ends_and_may_fail(vapi):
    call = vapi.dial_in("pn-1")
    path = call.control_url.removeprefix(vapi.url)
    assert rest(vapi, path, {"type": "say", "content": "Thirty seconds."})[0] == 200
    vapi.faults.set(end_call=500)
    assert rest(vapi, path, {"type": "end-call"})[0] == 500 and call.status == "in-progress"
    vapi.faults.set(end_call="ignored")
    assert rest(vapi, path, {"type": "end-call"})[0] == 200 and call.status == "in-progress"
    vapi.faults.set(end_call=None)
    assert rest(vapi, path, {"type": "end-call"})[0] == 200
    wait_until(lambda: call.ended_reason == "manually-canceled", 5)
    assert rest(vapi, path[:-4], {"type": "end-call"})[0] == 404, "the URL is a secret"


def test_requests_fail_as_often_as_asked(vapi):
    call = vapi.dial_in("pn-1")
    vapi.faults.fail("/call/", 429, times=2)
    assert [rest(vapi, f"/call/{call.id}")[0] for _ in range(3)] == [429, 429, 200]


def test_an_outbound_call_may_exist_although_its_answer_was_lost(vapi):
    vapi.faults.set(create="lost")
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(urllib.request.Request(
            vapi.url + "/call", json.dumps({"name": "cg 1", "phoneNumberId": "pn-1"}).encode(),
            {"Authorization": "Bearer stand-in-key"}), timeout=0.3)
    assert [call["name"] for call in rest(vapi, "/call?phoneNumberId=pn-1")[1]] == ["cg 1"]


def test_what_exceeds_its_limit_is_cut_unless_it_never_ends(vapi):
    vapi.second_s = 0.002
    call = vapi.dial_in("pn-1")
    wait_until(lambda: call.ended_reason == "exceeded-max-duration" and not vapi.timers, 5)
    vapi.faults.set(never_ends=True)
    assert vapi.dial_in("pn-1").status == "in-progress" and not vapi.timers


def test_the_switchboard_is_played_over_http(vapi):
    status, made = rest(vapi, "/stand-in/calls", {"phoneNumberId": "pn-1"})
    assert status == 201 and made["answer"][0] == 200
    assert rest(vapi, f"/stand-in/calls/{made['id']}/hang-up", {"talk_ms": 5000})[1]["status"] == "ended"
    assert rest(vapi, "/stand-in/faults", {"lost": 0.5})[0] == 200
    assert rest(vapi, "/stand-in/faults", {"nonsense": 1})[0] == 400
