"""The front door: who is let in, what is too large, too slow, too much, and how it starts and ends.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import hmac
import json
import signal
import socket
import subprocess
import time

import pytest

from support.edge import SECRET, Edge
from support.processes import program
from support.waiting import wait_until

NEWS = {"message": {"type": "hang", "call": {"id": "c"}}}


def signed(raw, secret=SECRET, at_ms=None, unit=1):
    at = str((int(time.time() * 1000) if at_ms is None else at_ms) // unit)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + raw, hashlib.sha256)
    return at, digest


def post(edge, raw, headers):
    return edge.request("POST", "/api/webhooks/vapi", raw, headers)[0]


def test_only_what_is_rightly_signed_is_read(world):
    raw = json.dumps(NEWS).encode()
    at, digest = signed(raw)
    good = {"x-timestamp": at, "x-signature": digest.hexdigest()}
    assert post(world.edge, raw, good) == 200
    assert post(world.edge, raw, {**good, "x-signature": digest.hexdigest().upper()}) == 200
    seconds, of_seconds = signed(raw, unit=1000)
    assert post(world.edge, raw, {"x-timestamp": seconds, "x-signature": of_seconds.hexdigest()}) == 200
    for bad in [{}, {"x-timestamp": at}, {"x-signature": digest.hexdigest()},
                {**good, "x-signature": digest.hexdigest()[:-1]}, {**good, "x-signature": "0" * 64},
                {**good, "x-timestamp": str(int(at) + 1)}, {**good, "x-signature": digest.hexdigest() + "00"},
                {"Authorization": f"Bearer {SECRET}"},
                {"X-Vapi-Secret": SECRET}]:
        assert post(world.edge, raw, bad) == 401, bad
    assert post(world.edge, raw + b" ", good) == 401, "over the raw bytes"
    assert world.edge.count("webhooks_unauthenticated") == 10


@pytest.mark.parametrize("off_ms, status", [(-299_000, 200), (299_000, 200), (-301_000, 401), (301_000, 401)])
def test_a_signature_is_good_for_five_minutes(world, off_ms, status):
    raw = json.dumps(NEWS).encode()
    at, digest = signed(raw, at_ms=int(time.time() * 1000) + off_ms)
    assert post(world.edge, raw, {"x-timestamp": at, "x-signature": digest.hexdigest()}) == status


def test_base64_a_prefix_and_other_headers(make_world):
    import base64
    world = make_world(signature_prefix="sha256=", signature_header="x-vapi-signature",
                       timestamp_header="webhook-timestamp")
    raw = json.dumps(NEWS).encode()
    at, digest = signed(raw)
    text = base64.b64encode(digest.digest()).decode()
    assert post(world.edge, raw, {"webhook-timestamp": at, "x-vapi-signature": "sha256=" + text}) == 200
    assert post(world.edge, raw, {"webhook-timestamp": at, "x-vapi-signature": text}) == 401


@pytest.mark.parametrize("mode, header, value", [
    ("bearer", "Authorization", f"Bearer {SECRET}"), ("secret", "X-Vapi-Secret", SECRET)])
def test_the_older_ways_to_authenticate(make_world, mode, header, value):
    world = make_world(webhook_auth=mode)
    raw = json.dumps(NEWS).encode()
    assert post(world.edge, raw, {header: value}) == 200
    assert post(world.edge, raw, {header: value + "x"}) == 401
    assert post(world.edge, raw, {header: value[:-1]}) == 401
    assert post(world.edge, raw, {}) == 401
    at, digest = signed(raw)
    assert post(world.edge, raw, {"x-timestamp": at, "x-signature": digest.hexdigest()}) == 401


def test_two_secrets_hold_while_one_takes_the_others_place(world):
    edge = Edge(world.stack, world.vapi.url, "rotating", environment={
        "VAPI_WEBHOOK_SECRET_NEXT": "another-secret"}).start()
    try:
        raw = json.dumps(NEWS).encode()
        for secret, status in [(SECRET, 200), ("another-secret", 200), ("a-third-secret", 401)]:
            at, digest = signed(raw, secret)
            assert post(edge, raw, {"x-timestamp": at, "x-signature": digest.hexdigest()}) == status
    finally:
        edge.stop()


@pytest.mark.parametrize("environment, flags, why", [
    ({"VAPI_WEBHOOK_SECRET": None}, [], "VAPI_WEBHOOK_SECRET: must be set in the environment"),
    ({"VAPI_WEBHOOK_SECRET": "short"}, [], "VAPI_WEBHOOK_SECRET: must have at least 12 characters"),
    ({"VAPI_API_KEY": None}, [], "VAPI_API_KEY: must be set in the environment"),
    ({}, ["--vapi-url", "http://api.vapi.ai"], "must begin with https://"),
    ({}, ["--webhook-auth", "none"], "must be hmac, bearer or secret"),
    ({}, ["--webhook-secret", "x"], "there is no such setting"),
    ({}, ["--poll-ms", "1"], "--poll-ms: must be an integer from 50 to 60000"),
    ({}, ["--listen"], "--listen: needs a value"),
    ({"VAPI_WEBHOOK_SECRET": None, "VAPI_WEBHOOK_SECRET_FILE": "/nowhere"}, [], "cannot be read")])
def test_it_refuses_to_start_on_bad_settings(environment, flags, why):
    """vendors.md D13: no signature check is ever skipped."""
    env = {"PATH": "/usr/bin", "VAPI_API_KEY": "k", "VAPI_WEBHOOK_SECRET": SECRET,
           "CALLGATE_EDGE_DATABASE_URL": "postgresql:///x", **environment}
    done = subprocess.run([program("callgate-edge"), *flags], capture_output=True, text=True, check=False,
                          env={key: value for key, value in env.items() if value is not None})
    assert done.returncode == 2 and why in done.stderr, done
    assert SECRET not in done.stderr + done.stdout


def test_settings_can_be_checked_and_listed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    env = {"VAPI_API_KEY": "k", "VAPI_WEBHOOK_SECRET_FILE": str(secret), "VAPI_API_URL": "https://api.eu.vapi.ai/",
           "CALLGATE_EDGE_DATABASE_URL": "postgresql:///x"}
    done = subprocess.run([program("callgate-edge"), "--check-config"], capture_output=True, text=True,
                          check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "callgate-edge: the settings are good\n"), done
    told = subprocess.run([program("callgate-edge"), "--help"], capture_output=True, text=True, check=True, env={})
    assert "CALLGATE_EDGE_LISTEN" in told.stdout and "VAPI_WEBHOOK_SECRET_FILE" in told.stdout


class Line:
    """A bare connection."""

    def __init__(self, edge):
        self.socket = socket.create_connection(("127.0.0.1", edge.port), timeout=10)

    def send(self, data):
        self.socket.sendall(data)
        return self

    def answer(self):
        """All until it is closed."""
        found = b""
        try:
            while part := self.socket.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found

    def close(self):
        self.socket.close()


def test_what_is_too_large_is_refused_before_it_is_read(make_world):
    world = make_world(webhook_bytes_max=65536, header_bytes_max=4096)
    line = Line(world.edge).send(b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n")
    assert line.socket.recv(4096).startswith(b"HTTP/1.1 413")
    chunked = Line(world.edge).send(
        b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        for _ in range(64):
            chunked.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    except OSError:
        pass
    assert b" 200 " not in chunked.answer()
    headers = Line(world.edge).send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 8192 + b"\r\n\r\n")
    assert headers.socket.recv(4096).split(b" ")[1] in (b"431", b"413", b"400")
    assert world.edge.is_serving()


def test_whoever_sends_slowly_is_cut_off(make_world):
    world = make_world(request_ms=800)
    head = Line(world.edge).send(b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\n")
    body = Line(world.edge).send(b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    silent = Line(world.edge)
    began = time.monotonic()
    cut = set()
    while len(cut) < 3 and time.monotonic() - began < 8:
        for name, line in (("head", head), ("body", body), ("silent", silent)):
            try:
                if name != "silent":
                    line.socket.send(b"X")  # one byte at a time gains nobody any
                line.socket.setblocking(False)
                if line.socket.recv(1000) == b"":
                    cut.add(name)
            except BlockingIOError:
                pass
            except OSError:
                cut.add(name)
        time.sleep(0.05)
    assert cut == {"head", "body", "silent"} and time.monotonic() - began < 5
    assert world.edge.is_serving()


def test_connections_are_limited_and_served_again(make_world):
    world = make_world(connections_max=8, idle_ms=1000, request_ms=1000)
    lines = [Line(world.edge) for _ in range(30)]
    wait_until(world.edge.is_serving, 10, "once the idle ones were cut off")
    for line in lines:
        line.close()
    assert world.edge.is_serving()


@pytest.mark.parametrize("request_line, status", [
    (b"GET / HTTP/1.1", b"404"), (b"GET /api/webhooks/vapi HTTP/1.1", b"404"), (b"DELETE /healthz HTTP/1.1", b"404"),
    (b"POST /api/webhooks/vapi/../../etc HTTP/1.1", b"404"), (b"POST //api/webhooks/vapi HTTP/1.1", b"404")])
def test_other_paths_are_not_there(world, request_line, status):
    line = Line(world.edge).send(request_line + b"\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert line.answer().split(b" ")[1] == status


def test_garbage_does_no_harm(make_world):
    world = make_world(request_ms=1000)
    for garbage in [b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 100, b"GET\r\n\r\n",
                    b"POST /api/webhooks/vapi HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                    b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nContent-Length: 9e9\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]:
        line = Line(world.edge).send(garbage)
        line.socket.shutdown(socket.SHUT_WR)
        assert b" 200 " not in line.answer(), garbage
        assert world.edge.is_serving(), garbage


def test_whoever_hangs_up_before_the_answer_does_no_harm(world):
    company, number = world.company()
    call = world.vapi.dial_in(number)
    raw = json.dumps(call.message("assistant-request")).encode()
    at, digest = signed(raw)
    for _ in range(50):
        line = Line(world.edge).send(
            b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nx-timestamp: " + at.encode() + b"\r\nx-signature: "
            + digest.hexdigest().encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        line.close()
    assert world.edge.is_serving() and world.client.balance(company).active_calls == 1


def test_health_says_when_postgres_is_away(own_world):
    world = own_world
    assert world.edge.request("GET", "/healthz") == (200, {"status": "serving"})
    world.stack.postgres.shut(world.stack.database)
    wait_until(lambda: world.edge.request("GET", "/healthz") == (200, {"status": "serving, postgres away"}), 10)
    world.stack.postgres.open(world.stack.database)
    wait_until(lambda: world.edge.request("GET", "/healthz") == (200, {"status": "serving"}), 20)


def test_on_sigterm_what_was_accepted_is_answered(own_world):
    world = own_world
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.wait_for_state(call.id, "running")
    world.stack.postgres.process.signal(signal.SIGSTOP)
    try:
        raw = json.dumps(call.status_update("ended")).encode()
        at, digest = signed(raw)
        line = Line(world.edge).send(
            b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: x\r\nx-timestamp: " + at.encode() + b"\r\nx-signature: "
            + digest.hexdigest().encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        world.edge.process.signal(signal.SIGTERM)
    finally:
        world.stack.postgres.process.signal(signal.SIGCONT)
    assert line.answer().split(b" ")[1] in (b"200", b"503")
    assert world.edge.process.wait(20) == 0


def test_on_sigterm_the_row_of_a_call_that_was_let_in_is_written(own_world):
    world = own_world
    company, number = world.company()
    world.vapi.faults.set(lost=1.0)
    call = world.vapi.dial_in(number)
    world.edge.process.signal(signal.SIGTERM)
    assert world.edge.process.wait(20) == 0
    assert world.row(call.id)["granted_ms"] > 0


def test_the_metrics_are_well_formed(world):
    text = world.edge.request("GET", "/metrics")[1]
    for line in text.splitlines():
        assert line.startswith("# ") or (line.startswith("callgate_edge_") and float(line.split()[1]) >= 0), line
