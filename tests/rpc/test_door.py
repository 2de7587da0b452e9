"""Who is let in: roles, tokens, companies, peers, limits.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest

from conftest import COMPANY, Server, authorize, connect, detail_of, method, raw, request, wait_until
from support import http2

OTHER = "fedcba98-7654-3210-fedc-ba9876543210"
Code = grpc.StatusCode

CALL = {"call_id": "c1"}
# Every method of the contract that is served, what it takes beside the company, and its roles.
METHODS = [
    ("Gate/Authorize", {**CALL, "resource_type": "voice", "destination": "+41791234567"}, "gate"),
    ("Gate/Start", CALL, "gate"),
    ("Gate/Stop", CALL, "gate"),
    ("Gate/Settle", {**CALL, "duration_ms": 0}, "gate"),
    ("Gate/Cancel", CALL, "gate"),
    ("Gate/Adopt", {**CALL, "resource_type": "voice", "started_at_ms": 1}, "gate"),
    ("Wallets/CreateWallet", {}, "admin"),
    ("Wallets/GetWallet", {}, "billing admin"),
    ("Wallets/UpdateWallet", {"frozen": False}, "admin"),
    ("Wallets/GetBalance", {}, "billing admin"),
    ("Wallets/GetCall", CALL, "billing admin"),
    ("Wallets/ListCalls", {}, "billing admin"),
    ("Wallets/Credit", {"type": 1, "amount_micros": 1, "reference_id": "r"}, "admin"),
    ("Wallets/Charge", {"resource_type": "rent", "amount_micros": 1, "quantity": 1,
                        "reference_id": "r"}, "admin"),
    ("Wallets/Watch", {}, "billing admin"),
]
NAMES = [name for name, _, _ in METHODS]


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def sha256(token):
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def code_of(call):
    """The code that it ends with, and what is said."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return Code.OK, ""


def send(pb, channel, name, metadata=None, company=COMPANY):
    """Calls a method; of a watch, until its first word."""
    fields = next(fields for path, fields, _ in METHODS if path == name)
    short = name.split("/")[1]
    message = getattr(pb, f"{short}Request")(company_id=company, **fields)
    if short == "Watch":
        call = channel.unary_stream(f"/callgate.v1.{name}", pb.WatchRequest.SerializeToString,
                                    pb.WatchResponse.FromString)
        stream = call(message, timeout=5, metadata=metadata)
        try:
            return next(stream)
        finally:
            stream.cancel()
    return method(channel, pb, f"/callgate.v1.{name}")(message, timeout=5, metadata=metadata)


class Credentials:
    """A file of them."""

    def __init__(self, path):
        self.path = path
        self.tokens = {}
        self.lines = []

    def add(self, name, roles, companies="*"):
        self.tokens[name] = secrets.token_urlsafe(24)
        self.lines.append(f"{sha256(self.tokens[name])} {roles} {companies} {name}")
        return self.write()

    def drop(self, name):
        self.lines = [line for line in self.lines if not line.endswith(f" {name}")]
        return self.write()

    def write(self, text=None):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text or "# who may come in\n\n" + "\n".join(self.lines) + "\n")
        fresh.chmod(0o600)
        fresh.rename(self.path)
        return self

    def __getitem__(self, name):
        return bearer(self.tokens[name])


@pytest.fixture
def credentials(tmp_path):
    made = Credentials(tmp_path / "credentials")
    for role in ("gate", "billing", "admin"):
        made.add(role, role)
    return made


@pytest.fixture
def guarded(start_server, credentials):
    return start_server(credentials_file=credentials.path)


@pytest.mark.parametrize("name, roles", [(name, roles) for name, _, roles in METHODS])
def test_each_method_takes_its_role(pb, guarded, credentials, name, roles):
    with connect(guarded) as channel:
        for role in ("gate", "billing", "admin"):
            code, said = code_of(lambda r=role: send(pb, channel, name, credentials[r]))
            if role in roles:
                assert code == Code.OK, (role, said)
            else:
                assert code == Code.PERMISSION_DENIED
                assert said == f"this takes the role {roles.split()[0]}"
        assert guarded.doors()["permission_denied"] == 3 - len(roles.split())


@pytest.mark.parametrize("name", NAMES)
def test_without_a_token_nothing_is_answered(pb, guarded, name):
    with connect(guarded) as channel:
        code, said = code_of(lambda: send(pb, channel, name))
        assert (code, said) == (Code.UNAUTHENTICATED,
                                "a token is needed: authorization: Bearer <token>")


def test_who_may_not_call_learns_nothing_of_fields(pb, guarded, credentials):
    """Neither a stranger nor one without the role hears what was wrong with his message."""
    with connect(guarded) as channel:
        call = raw(channel, "/callgate.v1.Wallets/Credit")
        assert code_of(lambda: call(b"\xff", timeout=5))[0] == Code.UNAUTHENTICATED
        assert code_of(lambda: call(b"\xff", timeout=5, metadata=credentials["gate"]))[0] == \
            Code.PERMISSION_DENIED
        assert code_of(lambda: call(b"\xff", timeout=5, metadata=credentials["admin"]))[0] == \
            Code.INVALID_ARGUMENT


@pytest.mark.parametrize("change", [
    lambda token: bearer(secrets.token_urlsafe(24)),
    lambda token: bearer(token + "x"), lambda token: bearer(token[:-1]), lambda token: bearer(""),
    lambda token: bearer(token + " "), lambda token: bearer("x" * 513),
    lambda token: (("authorization", token),),
    lambda token: (("authorization", f"Basic {token}"),),
    lambda token: (("authorization", f"Bearer  {token}"),),
    lambda token: bearer(hashlib.sha256(token.encode()).hexdigest()),
    lambda token: bearer(token) * 2,
    lambda token: bearer(token) + bearer(secrets.token_urlsafe(24)),
    lambda token: (("authorization-bin", f"Bearer {token}".encode()),),
])
def test_whatever_is_not_one_valid_token_is_unauthenticated(pb, guarded, credentials, change):
    with connect(guarded) as channel:
        before = guarded.doors()["unauthenticated"]
        code, _ = code_of(lambda: authorize(channel, pb)(
            request(pb), timeout=5, metadata=change(credentials.tokens["gate"])))
        assert code == Code.UNAUTHENTICATED
        assert guarded.doors()["unauthenticated"] == before + 1
    guarded.term()
    assert guarded.wait() == (0, 0)


def test_the_scheme_is_read_in_any_case_and_health_takes_none(pb, guarded, credentials):
    token = credentials.tokens["gate"]
    with connect(guarded) as channel:
        answer = authorize(channel, pb)(
            request(pb), timeout=5, metadata=(("authorization", f"bEARER {token}"),))
        assert answer.decision == pb.DECISION_ALLOWED
        assert raw(channel, "/grpc.health.v1.Health/Check")(b"", timeout=5) == b"\x08\x01"


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_credential_is_for_its_companies_alone(pb, start_server, credentials, name):
    third = "00000000-0000-4000-8000-000000000001"
    credentials.add("bound", "gate,billing,admin", f"{COMPANY.upper()},{third}")
    server = start_server(credentials_file=credentials.path)
    with connect(server) as channel:
        for company in (COMPANY, third, COMPANY.upper()):
            code, said = code_of(lambda c=company: send(pb, channel, name, credentials["bound"], c))
            assert code == Code.OK, said
        code, said = code_of(lambda: send(pb, channel, name, credentials["bound"], OTHER))
        assert (code, said) == (Code.PERMISSION_DENIED, "the credential is not for this company")
        # What it would have asked the gate for never got there.
    server.term()
    submitted, answered = server.wait()
    assert submitted == answered == (0 if name.endswith("Watch") else 3)


def test_a_bound_watch_of_all_sees_its_companies_alone(pb, start_server, credentials):
    credentials.add("bound", "billing", COMPANY)
    server = start_server(credentials_file=credentials.path)
    with connect(server) as channel:
        call = channel.unary_stream("/callgate.v1.Wallets/Watch", pb.WatchRequest.SerializeToString,
                                    pb.WatchResponse.FromString)
        streams = [call(pb.WatchRequest(), timeout=20, metadata=credentials[who])
                   for who in ("bound", "billing")]
        for stream in streams:
            next(stream)
        for company in (OTHER, COMPANY, OTHER, COMPANY):
            server.tell(3, company)
        seen = [[next(stream).event.company_id for _ in range(2)] for stream in streams]
        assert seen == [[COMPANY, COMPANY], [OTHER, COMPANY]]
        for stream in streams:
            stream.cancel()


def test_tokens_are_rotated_while_calls_go_on(pb, start_server, credentials):
    """Two are valid at once; who uses the new one never notices, and the old one ends."""
    credentials.add("next", "gate")
    server = start_server(credentials_file=credentials.path)
    stop = threading.Event()
    failed = []

    def call_on():
        with connect(server) as channel:
            while not stop.is_set():
                code, said = code_of(lambda: authorize(channel, pb)(
                    request(pb), timeout=5, metadata=credentials["next"]))
                if code != Code.OK:
                    failed.append((code, said))

    callers = [threading.Thread(target=call_on) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        with connect(server) as channel:
            old = credentials["gate"]
            ask = lambda: authorize(channel, pb)(request(pb), timeout=5, metadata=old)  # noqa: E731
            assert code_of(ask)[0] == Code.OK
            for _ in range(5):
                server.reload()
            credentials.drop("gate")
            server.reload()
            assert code_of(ask) == (Code.UNAUTHENTICATED, "the token is not valid (any more)")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert not failed
    assert server.doors()["reloads"] == 6


def test_a_watch_ends_with_its_credential_and_no_other_does(pb, start_server, credentials):
    for name in ("revoked", "changed", "kept"):
        credentials.add(name, "billing", COMPANY)
    server = start_server(credentials_file=credentials.path)
    with connect(server) as channel:
        call = channel.unary_stream("/callgate.v1.Wallets/Watch", pb.WatchRequest.SerializeToString,
                                    pb.WatchResponse.FromString)
        streams = {name: call(pb.WatchRequest(), timeout=30, metadata=credentials[name])
                   for name in ("revoked", "changed", "kept")}
        for stream in streams.values():
            next(stream)
        credentials.drop("revoked").drop("changed")
        credentials.lines.append(f"{sha256(credentials.tokens['changed'])} billing {OTHER} changed")
        credentials.write()
        server.reload()
        for name in ("revoked", "changed"):
            code, said = code_of(lambda n=name: next(streams[n]))
            assert (code, said) == (Code.UNAUTHENTICATED, "the credential was taken away or changed")
        server.tell(3)
        assert next(streams["kept"]).event.company_id == COMPANY
        assert server.doors()["watches_revoked"] == 2
        wait_until(lambda: server.watcher_count() == 1)
        streams["kept"].cancel()


BAD_FILES = [
    ("sha256:12 gate *", "line 1: after sha256: come 64 hexadecimal digits"),
    ("# x\n\nsecret gate *", "line 3: it must begin with sha256:, uri: or dns:"),
    (f"sha256:{'a' * 64} root *", "line 1: the roles must be of"),
    (f"sha256:{'a' * 64}", "line 1: the roles must be of"),
    (f"sha256:{'a' * 64} gate", "line 1: the companies must be"),
    (f"sha256:{'a' * 64} gate acme", "line 1: the companies must be"),
    (f"sha256:{'a' * 64} gate {COMPANY},", "line 1: the companies must be"),
    (f"sha256:{'a' * 64} gate {COMPANY};{OTHER}", "line 1: the companies must be"),
    (f"sha256:{'a' * 64} gate * {'n' * 64}", "line 1: the name must have"),
    (f"sha256:{'a' * 64} gate * name more", "line 1: there is more than four words"),
    (f"sha256:{'a' * 64} gate *\nsha256:{'A' * 64} admin *", "line 2: it stands there twice"),
    ("x" * 20000, "line 1: it is too long"),
    ("# nobody\n", "holds no credential"),
    (f"sha256:{'a' * 64} gate " + ",".join([COMPANY] * 257), "256 companies at most"),
    ("\n".join(f"sha256:{n:064x} gate *" for n in range(1025)), "line 1025: there may be 1024"),
]


@pytest.mark.parametrize("text, complaint", BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_bad_file_is_refused_at_start_and_changes_nothing_later(
        pb, tmp_path, start_server, credentials, text, complaint):
    bad = Credentials(tmp_path / "bad").write(text)
    refused = Server(credentials_file=bad.path)
    assert refused.process.wait(10) == 1
    assert complaint in refused.stderr()
    refused.folder.cleanup()

    server = start_server(credentials_file=credentials.path)
    credentials.write(text)
    server.reload()
    assert complaint in server.stderr() and "level=error" in server.stderr()
    assert server.doors()["reloads_failed"] == 1
    with connect(server) as channel:
        assert code_of(lambda: send(pb, channel, "Gate/Start", credentials["gate"]))[0] == Code.OK


def test_a_file_that_others_may_write_is_refused(credentials):
    for mode, complaint in ((0o620, "others than its owner"), (0o602, "others than its owner")):
        credentials.path.chmod(mode)
        server = Server(credentials_file=credentials.path)
        assert server.process.wait(10) == 1
        assert complaint in server.stderr()
        server.folder.cleanup()
    server = Server(credentials_file="/nowhere")
    assert server.process.wait(10) == 1 and "No such file" in server.stderr()
    server.folder.cleanup()


def test_a_path_gives_its_role_and_a_token_its_own(pb, tmp_path, start_server, credentials):
    paths = {role: f"unix:{tmp_path}/{role}.sock" for role in ("gate", "admin", "any")}
    server = start_server(
        listen=f"{paths['gate']}=gate,{paths['admin']}=admin+billing,{paths['any']}",
        credentials_file=credentials.path)

    def code(path, name, metadata=None):
        with grpc.insecure_channel(paths[path]) as channel:
            return code_of(lambda: send(pb, channel, name, metadata))[0]

    assert code("gate", "Gate/Start") == Code.OK
    assert code("gate", "Wallets/GetBalance") == Code.PERMISSION_DENIED
    assert code("gate", "Wallets/GetBalance", credentials["billing"]) == Code.OK
    assert code("gate", "Gate/Start", credentials["billing"]) == Code.PERMISSION_DENIED
    assert code("gate", "Gate/Start", bearer("x" * 32)) == Code.UNAUTHENTICATED
    # Nor does who sends two of them pass for one who sends none.
    assert code("gate", "Gate/Start", credentials["gate"] * 2) == Code.UNAUTHENTICATED
    assert code("admin", "Wallets/Credit") == Code.OK
    assert code("admin", "Wallets/Watch") == Code.OK
    assert code("admin", "Gate/Start") == Code.PERMISSION_DENIED
    assert code("any", "Gate/Start") == Code.UNAUTHENTICATED
    assert code("any", "Gate/Start", credentials["gate"]) == Code.OK
    assert server.doors()["connections_accepted"] == 11
    server.term()
    server.wait()
    assert not [path for path in paths.values() if os.path.exists(path[5:])]


@pytest.mark.parametrize("listen, complaint", [
    ("127.0.0.1:0", "nobody could call"), ("127.0.0.1:0=root", "after = come roles"),
    ("127.0.0.1:0=", "after = come roles"), ("unix:/tmp/x,", "must be"),
    ("0.0.0.0:0=gate", "loopback"), ("192.0.2.1:0=*", "tls:192.0.2.1:0 is for others"),
    ("tls:0.0.0.0:0=gate", "needs a certificate"),
    (",".join(f"127.0.0.{n}:0=gate" for n in range(1, 10)), "there may be 8 addresses"),
])
def test_a_door_that_cannot_be_is_refused_in_words(listen, complaint):
    server = Server(listen=listen)
    assert server.process.wait(10) == 1
    assert complaint in server.stderr()
    server.folder.cleanup()


def test_loopback_takes_a_token(pb, start_server, credentials):
    server = start_server(listen="127.0.0.1:0", credentials_file=credentials.path)
    with connect(server) as channel:
        assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.UNAUTHENTICATED
        assert code_of(lambda: send(pb, channel, "Gate/Start", credentials["gate"]))[0] == Code.OK


ASK_AS_NOBODY = """
import os, socket, sys
os.setgroups([int(g) for g in sys.argv[2].split(',') if g]); os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX); peer.settimeout(5); peer.connect(sys.argv[1])
try:
    peer.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0")
    print(len(peer.recv(9)))
except (ConnectionResetError, BrokenPipeError):
    print(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
@pytest.mark.parametrize("peers, groups, admitted", [
    ("group", "", False), ("group", str(os.getegid()), True), ("any", "", True),
    ("uid:65534", "", True), ("gid:65534", "", True), ("uid:1,gid:1", "", False),
    ("gid:1000", "7,1000", True),
])
def test_the_kernel_says_who_comes(start_server, peers, groups, admitted):
    path = f"/tmp/cg-peers-{os.getpid()}.sock"
    server = start_server(listen=f"unix:{path}", peers=peers)
    os.chmod(path, 0o666)  # Even where somebody opened the socket to all.
    try:
        done = subprocess.run([sys.executable, "-c", ASK_AS_NOBODY, path, groups],
                              capture_output=True, text=True, check=True, timeout=20)
    finally:
        server.term()
        server.wait()
        os.unlink(path + ".lock")
    assert done.stdout == ("9\n" if admitted else "0\n"), done.stderr
    assert ("none of ours" in server.stderr()) == (not admitted)


def test_bad_peers_are_refused():
    for peers in ("everybody", "uid:", "uid:x", "uid:-1", "group,,any"):
        server = Server(peers=peers)
        assert server.process.wait(10) == 1
        assert "peers: must be" in server.stderr()
        server.folder.cleanup()


def open_and_wait(path, count):
    """That many connections, each of which is either greeted or closed; how many were greeted."""
    peers, greeted = [], 0
    for _ in range(count):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(10)
        peer.connect(path)
        peers.append(peer)
    for peer in peers:
        try:
            peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            greeted += peer.recv(9) != b""
        except (ConnectionResetError, BrokenPipeError):
            pass
    return peers, greeted


def test_connections_are_counted_in_all_and_for_each_door(pb, tmp_path, start_server):
    paths = [f"{tmp_path}/{n}.sock" for n in range(2)]
    server = start_server(listen=",".join(f"unix:{path}" for path in paths), connections_max=12,
                          door_connections_max=8)
    one, greeted = open_and_wait(paths[0], 20)
    assert greeted == 8
    two, greeted = open_and_wait(paths[1], 20)
    assert greeted == 4
    counted = server.doors()
    assert counted["connections_open"] == 12
    assert counted["connections_refused_full"] == 28
    for peer in one:
        peer.close()
    wait_until(lambda: server.doors()["connections_open"] == 4)
    with grpc.insecure_channel(f"unix:{paths[0]}") as channel:
        answer = authorize(channel, pb)(request(pb), timeout=10, wait_for_ready=True)
        assert answer.decision == pb.DECISION_ALLOWED
    for peer in two:
        peer.close()
    assert "there are too many" in server.stderr()


def test_one_connection_cannot_take_what_others_need(pb, start_server):
    server = start_server(calls_max=64, streams_max=8)
    with connect(server) as greedy, connect(server) as modest:
        futures = [authorize(greedy, pb).future(request(pb, call_id=f"slow-1500-{i}"), timeout=20)
                   for i in range(40)]
        assert authorize(modest, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        refused = [f.exception() for f in futures if f.exception() is not None]
        assert len(refused) == 32
        assert {error.code() for error in refused} == {Code.RESOURCE_EXHAUSTED}
        early = []

        # A place is given back when the answer has been written, which its client may see before.
        def is_given_back():
            try:
                return authorize(greedy, pb)(request(pb), timeout=5)
            except grpc.RpcError as error:
                assert error.code() == Code.RESOURCE_EXHAUSTED
                early.append(error)
                return None

        wait_until(is_given_back)
        # All are given back: the same again.
        for _ in range(20):
            assert authorize(greedy, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    assert server.doors()["refused_connection_in_flight"] == 32 + len(early)
    assert server.doors()["refused_in_flight"] == 0


def test_one_company_cannot_take_what_others_need(pb, start_server):
    server = start_server(authorizes_per_second=5, authorizes_burst=10)
    with connect(server) as channel:
        ask = authorize(channel, pb)
        begun = time.monotonic()
        errors, admitted = [], 0
        for _ in range(100):
            try:
                ask(request(pb), timeout=5)
                admitted += 1
            except grpc.RpcError as error:
                errors.append(error)
        took = time.monotonic() - begun
        assert 10 <= admitted <= 10 + 5 * took + 1
        detail = detail_of(pb, errors[0])
        assert errors[0].code() == Code.RESOURCE_EXHAUSTED
        assert detail.reason == pb.ERROR_REASON_TOO_MANY_AUTHORIZES
        assert 0 < detail.retry_after_ms <= 200
        # Others, and other methods, do not notice.
        for name in NAMES[1:-1]:
            send(pb, channel, name)
        send(pb, channel, "Gate/Authorize", company=OTHER)
        # Who does as he was told is let in.
        detail = detail_of(pb, last_error(ask, pb))
        time.sleep(detail.retry_after_ms / 1000)
        assert ask(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    assert server.doors()["refused_rate"] == len(errors) + 1


def last_error(ask, pb):
    """Asks until it is refused."""
    for _ in range(100):
        try:
            ask(request(pb), timeout=5)
        except grpc.RpcError as error:
            return error
    raise AssertionError("it was never refused")


def test_a_call_whose_message_never_comes_ends_with_its_connection(pb, start_server):
    server = start_server(connection_age_ms=500, connection_grace_ms=300)
    release = threading.Event()

    def nothing():
        release.wait(20)
        yield from ()

    begun = time.monotonic()
    with connect(server) as channel:
        call = channel.stream_unary("/callgate.v1.Gate/Authorize", lambda b: b, lambda b: b)
        code, _ = code_of(lambda: call(nothing(), timeout=20))
        release.set()
        assert code == Code.UNAVAILABLE and time.monotonic() - begun < 10
    wait_until(lambda: server.doors()["connections_open"] == 0)


def test_a_call_whose_message_never_comes_is_ended_and_its_connection_goes_on(pb, start_server):
    server = start_server()
    release = threading.Event()

    def nothing():
        release.wait(30)
        yield from ()

    with connect(server) as channel:
        call = channel.stream_unary("/callgate.v1.Gate/Authorize", lambda b: b, lambda b: b)
        begun = time.monotonic()
        code, said = code_of(lambda: call(nothing(), timeout=30))
        release.set()
        assert code == Code.UNAVAILABLE and "did not come" in said
        assert 4.5 < time.monotonic() - begun < 15
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    counted = server.doors()
    assert counted["calls_stalled"] == 1 and counted["connections_accepted"] == 1


def test_newcomers_come_in_more_slowly_while_few_slots_are_free(pb, start_server):
    """By how long it takes at the least.  Where there is room 16 come in at once, one each 4 ms."""
    def all_come_in(server, count):
        begun = time.monotonic()
        with contextlib.ExitStack() as peers:
            newcomers = [peers.enter_context(http2.connect(server.path)) for _ in range(count)]
            for peer in newcomers:
                assert http2.send(peer, http2.HELLO)
            for peer in newcomers:
                assert peer.recv(9)[3] == http2.SETTINGS
        return time.monotonic() - begun

    server = start_server(calls_max=4000)
    headers = http2.request_headers()
    calls = b"".join(
        http2.request(2 * n + 1, request(pb, call_id=f"slow-4000-{n}").SerializeToString(), headers)
        for n in range(1000))
    with contextlib.ExitStack() as peers:
        for _ in range(4):
            peer = peers.enter_context(http2.connect(server.path))
            assert http2.send(peer, http2.HELLO + http2.ACK_OF_SETTINGS + calls)
        wait_until(lambda: server.requests()[0] == 4000)
        # Four at once, one each 16 ms; with room it would be 96 ms.
        assert all_come_in(server, 40) > 0.4
        wait_until(lambda: server.requests()[1] == 4000)
    assert server.doors()["refused_in_flight"] == 0


def test_honest_calls_go_on_where_others_take_all_slots(pb, start_server):
    """More calls whose message never comes than there are slots: those are ended early then."""
    server = start_server(calls_max=64, streams_max=64)
    headers = http2.request_headers()
    stalled = b"".join(
        http2.frame(http2.HEADERS, http2.END_HEADERS, 2 * n + 1, headers) for n in range(60))
    begun = time.monotonic()
    with connect(server) as channel, contextlib.ExitStack() as peers:
        ask = authorize(channel, pb)
        assert ask(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        for _ in range(40):
            peer = peers.enter_context(http2.connect(server.path))
            assert http2.send(peer, http2.HELLO + http2.ACK_OF_SETTINGS + stalled)
        wait_until(lambda: server.doors()["calls_stalled"] > 1000)
        # 60 of each are less than the 64 that one may have: nobody is refused or cut.
        for _ in range(100):
            assert ask(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        wait_until(lambda: server.doors()["calls_stalled"] == 2400, 20)
        assert time.monotonic() - begun > 4.5  # those within their share had their five seconds
    counted = server.doors()
    assert counted["connections_cut_flood"] == counted["refused_connection_in_flight"] == 0


def test_who_never_acknowledges_its_limit_is_cut(pb, start_server):
    """gRPC itself holds nobody to a limit that he has not acknowledged."""
    server = start_server(streams_max=8, watchers_max=16)
    flood = b"".join(http2.frame(http2.HEADERS, http2.END_HEADERS, 2 * n + 1, http2.request_headers())
                     for n in range(2000))
    with connect(server) as channel, http2.connect(server.path) as peer:
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        http2.send(peer, http2.HELLO + flood)
        assert http2.is_closed(peer, 10)
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    counted = server.doors()
    assert counted["connections_cut_flood"] == 1
    assert counted["calls_stalled"] == 0


def test_who_has_flooded_stays_out_for_a_while(pb, start_server):
    """This process; another one comes in meanwhile, and what it is connected with goes on."""
    server = start_server(streams_max=8, watchers_max=16)
    flood = b"".join(http2.frame(http2.HEADERS, http2.END_HEADERS, 2 * n + 1, http2.request_headers())
                     for n in range(2000))
    knock = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(0.5);"
             " s.connect(sys.argv[1]); s.sendall(bytes.fromhex(sys.argv[2])); s.recv(9) or sys.exit(1)")
    hello = http2.HELLO

    def is_let_in():
        with http2.connect(server.path) as peer:
            http2.send(peer, hello)
            peer.settimeout(1)
            try:
                return bool(peer.recv(9))
            except OSError:
                return False

    assert is_let_in()
    with http2.connect(server.path) as peer:
        http2.send(peer, hello + flood)
        assert http2.is_closed(peer, 10)
    cut_at = time.monotonic()
    assert not is_let_in()
    subprocess.run([sys.executable, "-S", "-c", knock, server.path, hello.hex()], check=True,
                   timeout=10)
    assert server.doors()["connections_refused_banned"] >= 1
    wait_until(is_let_in, 10)
    assert time.monotonic() - cut_at > 0.5
    counted = server.doors()
    assert counted["connections_cut_flood"] == 1


def test_who_says_nothing_or_something_else_is_let_go(start_server):
    server = start_server()
    with http2.connect(server.path) as silent, http2.connect(server.path) as slow, \
            http2.connect(server.path) as other, http2.connect(server.path):
        assert http2.send(slow, http2.PREFACE[:10])
        assert http2.send(other, b"GET / HTTP/1.1\r\n\r\n")
        assert http2.is_closed(other, 3)
        begun = time.monotonic()
        assert http2.is_closed(silent, 15) and http2.is_closed(slow, 15)
        assert time.monotonic() - begun > 1
    wait_until(lambda: server.doors()["connections_open"] == 0)
    counted = server.doors()
    assert counted["connections_refused_rubbish"] == 1
    assert counted["connections_ended_silent"] == 3


@pytest.mark.parametrize("waits_in", [None, "thread"])
def test_a_greeting_in_pieces_is_one(start_server, waits_in):
    """Also where nothing but the greeting itself would wake the loop."""
    server = start_server(waits_in=waits_in)
    with http2.connect(server.path) as peer:
        for at in range(len(http2.HELLO)):
            assert http2.send(peer, http2.HELLO[at:at + 1])
            time.sleep(0.005)  # so that they come one by one
        assert peer.recv(9)[3] == http2.SETTINGS


def test_an_idle_connection_is_closed(start_server):
    server = start_server(connection_idle_ms=300)
    with connect(server) as channel:
        assert raw(channel, "/grpc.health.v1.Health/Check")(b"", timeout=5) == b"\x08\x01"
        assert server.doors()["connections_open"] == 1
        wait_until(lambda: server.doors()["connections_open"] == 0)
    counted = server.doors()
    assert (counted["connections_ended_idle"], counted["connections_ended_old"]) == (1, 0)


def test_an_old_connection_is_closed_and_who_leaves_is_not_counted(start_server):
    server = start_server(connection_age_ms=600, connection_grace_ms=200)
    with connect(server) as channel:
        check = raw(channel, "/grpc.health.v1.Health/Check")
        assert check(b"", timeout=5) == b"\x08\x01"
    wait_until(lambda: server.doors()["connections_open"] == 0)
    assert server.doors()["connections_ended_old"] == 0
    with http2.connect(server.path) as peer:
        assert http2.send(peer, http2.HELLO)
        assert http2.is_closed(peer, 10)
    wait_until(lambda: server.doors()["connections_open"] == 0)
    counted = server.doors()
    assert (counted["connections_ended_idle"], counted["connections_ended_old"]) == (0, 1)


def test_every_refusal_of_a_message_is_counted(pb, start_server):
    server = start_server()
    with connect(server) as channel:
        call = channel.stream_unary("/callgate.v1.Gate/Authorize", lambda b: b, lambda b: b)
        assert code_of(lambda: call(iter(()), timeout=5))[0] == Code.INVALID_ARGUMENT
    with connect(server, [("grpc.default_compression_algorithm", 2)]) as channel:
        assert code_of(lambda: authorize(channel, pb)(
            request(pb, meta={"a": "b" * 4000}), timeout=5))[0] == Code.UNIMPLEMENTED
    counted = server.doors()
    assert counted["refused_no_message"] == counted["refused_compressed"] == 1
    with connect(server) as channel:
        server.drain()
        assert code_of(lambda: authorize(channel, pb)(request(pb), timeout=5))[0] == Code.UNAVAILABLE
    assert server.doors()["refused_closing"] == 1
