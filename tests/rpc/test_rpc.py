"""What a caller of the official gRPC client sees, hostile ones among them.

SPDX-License-Identifier: Apache-2.0
"""

import itertools
import os
import signal
import socket
import stat
import subprocess
import threading
import time

import grpc
import pytest

from conftest import (COMPANY, WAITS_IN, Server, authorize, connect, detail_of, method, raw, request,
                      wait_until)
from support import http2

AUTHORIZE = "/callgate.v1.Gate/Authorize"
CHECK = "/grpc.health.v1.Health/Check"
Code = grpc.StatusCode


def failure_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_a_call_is_answered(pb, channel):
    answer = authorize(channel, pb)(request(pb, meta={"city": "Bern"}), timeout=5)
    assert answer.decision == pb.DECISION_ALLOWED
    assert answer.state == pb.CALL_STATE_AUTHORIZED
    assert answer.price.rate_micros_per_minute == 90000
    assert answer.price.currency == "usd"
    assert answer.held_micros == 97501
    assert answer.as_of_ms == 1790000000000


def test_a_bad_field_is_named_with_its_bound(pb, channel):
    error = failure_of(lambda: authorize(channel, pb)(request(pb, call_id="x" * 129), timeout=5))
    assert error.code() == Code.INVALID_ARGUMENT
    assert error.details() == "call_id: must be 1..128 bytes of printable ASCII"
    detail = detail_of(pb, error)
    assert detail.reason == pb.ERROR_REASON_INVALID_FIELD
    assert detail.field == "call_id"
    assert detail.bound == "1..128 bytes of printable ASCII"


@pytest.mark.parametrize("status, code, reason", [
    (2, Code.NOT_FOUND, "NO_WALLET"),
    (3, Code.FAILED_PRECONDITION, "WRONG_STATE"),
    (4, Code.ALREADY_EXISTS, "KEY_REUSED"),
    (6, Code.UNAVAILABLE, "OUTBOX_FULL"),
    (7, Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
    (8, Code.UNAVAILABLE, "RECOVERING"),
    (9, Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
    (13, Code.INTERNAL, "UNSPECIFIED"),
])
def test_what_the_gate_could_not_do_has_its_code_and_reason(pb, channel, status, code, reason):
    error = failure_of(
        lambda: authorize(channel, pb)(request(pb, call_id=f"status-{status}"), timeout=5))
    assert error.code() == code
    detail = detail_of(pb, error)
    assert detail.reason == getattr(pb, f"ERROR_REASON_{reason}")
    if reason == "WRONG_STATE":
        assert detail.state == pb.CALL_STATE_SETTLED


def test_a_settle_with_other_content_says_what_was_charged(pb, channel):
    settle = method(channel, pb, "/callgate.v1.Gate/Settle")
    error = failure_of(lambda: settle(pb.SettleRequest(
        company_id=COMPANY, call_id="status-4", duration_ms=1), timeout=5))
    assert error.code() == Code.ALREADY_EXISTS
    assert detail_of(pb, error).settled.cost_micros == 1500


def test_every_method_is_served(pb, channel):
    ids = {"company_id": COMPANY}
    call = {**ids, "call_id": "c1"}
    requests = {
        "Gate/Start": call, "Gate/Stop": call, "Gate/Settle": {**call, "duration_ms": 0},
        "Gate/Cancel": call,
        "Gate/Adopt": {**call, "resource_type": "voice", "started_at_ms": 1},
        "Wallets/CreateWallet": ids, "Wallets/GetWallet": ids,
        "Wallets/UpdateWallet": {**ids, "frozen": False}, "Wallets/GetBalance": ids,
        "Wallets/GetCall": call, "Wallets/ListCalls": {},
        "Wallets/Credit": {**ids, "type": 1, "amount_micros": 1, "reference_id": "r"},
        "Wallets/Charge": {**ids, "resource_type": "rent", "amount_micros": 1, "quantity": 1,
                           "reference_id": "r"},
    }
    for path, fields in requests.items():
        name = path.split("/")[1]
        send = method(channel, pb, f"/callgate.v1.{path}")
        send(getattr(pb, f"{name}Request")(**fields), timeout=5)


def test_a_page_of_calls_arrives_in_order(pb, channel):
    list_calls = method(channel, pb, "/callgate.v1.Wallets/ListCalls")
    page = list_calls(pb.ListCallsRequest(company_id=COMPANY, page_size=1000), timeout=10)
    assert [call.authorized_at_ms for call in page.calls] == list(range(1000))
    assert page.calls[999].meta == {"city": "Bern"}
    assert page.calls[0].company_id == COMPANY
    assert page.next_page_token == "next"


@pytest.mark.parametrize("path", [
    "/callgate.v1.Gate/Nope", "/nobody.v1.Service/Method", "/x",
])
def test_an_unknown_method_is_unimplemented(channel, path):
    assert failure_of(lambda: raw(channel, path)(b"", timeout=5)).code() == Code.UNIMPLEMENTED


@pytest.mark.parametrize("path", [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
])
def test_streams_are_unimplemented_without_waiting_for_a_message(channel, path):
    release = threading.Event()

    def nothing():
        release.wait(10)
        yield from ()

    stream = channel.stream_stream(path, lambda b: b, lambda b: b)(nothing(), timeout=5)
    try:
        error = failure_of(lambda: next(stream))
    finally:
        release.set()
    assert error.code() == Code.UNIMPLEMENTED


@pytest.mark.parametrize("path, name", [
    (AUTHORIZE, "AuthorizeRequest"), ("/callgate.v1.Wallets/Credit", "CreditRequest"),
])
def test_a_half_close_without_a_message_is_an_invalid_argument(pb, channel, path, name):
    call = channel.stream_unary(path, lambda b: b, lambda b: b)
    error = failure_of(lambda: call(iter(()), timeout=5))
    assert error.code() == Code.INVALID_ARGUMENT
    assert detail_of(pb, error).field == name


def test_an_oversized_message_is_refused(pb, channel):
    error = failure_of(lambda: raw(channel, AUTHORIZE)(b"\0" * (64 * 1024 + 1), timeout=5))
    assert error.code() == Code.RESOURCE_EXHAUSTED
    # At the limit it is ours to judge.
    error = failure_of(lambda: raw(channel, AUTHORIZE)(b"\0" * (64 * 1024), timeout=5))
    assert error.code() == Code.INVALID_ARGUMENT


def test_a_message_in_many_frames_is_put_together(pb, channel):
    big = request(pb, meta={f"k{i}": "v" * 60 for i in range(60)}).SerializeToString()
    unknown = b"\xfa\x06\xff\xbf\x03" + b"u" * 0xDFFF  # an unknown field of 57 KB
    answer = raw(channel, AUTHORIZE)(unknown + big, timeout=5)
    assert pb.AuthorizeResponse.FromString(answer).decision == pb.DECISION_ALLOWED


def test_a_compressed_message_is_unimplemented(pb, server):
    options = [("grpc.default_compression_algorithm", 2)]
    with connect(server, options) as channel:
        message = request(pb, meta={"k": "v" * 4000})
        error = failure_of(lambda: authorize(channel, pb)(message, timeout=5))
        assert error.code() == Code.UNIMPLEMENTED
        health = failure_of(lambda: raw(channel, CHECK)(b"\x0a\x7d" + b"a" * 125, timeout=5))
        assert health.code() == Code.NOT_FOUND


def test_too_much_metadata_is_refused_and_other_callers_do_not_notice(pb, server, channel):
    with connect(server) as greedy:
        error = failure_of(lambda: authorize(greedy, pb)(
            request(pb), timeout=5, metadata=[("x", "y" * 20000)]))
    assert error.code() in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.INTERNAL)
    assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED


def test_a_thousand_at_once_are_each_answered_once(pb, start_server):
    server = start_server(calls_max=1024)
    with connect(server) as channel:
        send = authorize(channel, pb)
        futures = [send.future(request(pb, call_id=f"slow-50-{i}"), timeout=20)
                   for i in range(1000)]
        for future in futures:
            assert future.result().decision == pb.DECISION_ALLOWED
    server.term()
    assert server.wait() == (1000, 1000)


def test_beyond_the_limit_requests_are_refused_and_then_served_again(pb, start_server):
    server = start_server(calls_max=8)
    with connect(server) as channel:
        send = authorize(channel, pb)
        futures = [send.future(request(pb, call_id=f"slow-300-{i}"), timeout=20)
                   for i in range(500)]
        refused = [future.exception() for future in futures if future.exception() is not None]
        assert len(refused) >= 400
        for error in refused:
            assert error.code() == Code.RESOURCE_EXHAUSTED
        assert detail_of(pb, refused[0]).reason == pb.ERROR_REASON_TOO_MANY_IN_FLIGHT
        assert send(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    log = server.stderr()
    assert "too many are in flight" in log
    assert len(log.splitlines()) < 10
    server.term()
    submitted, answered = server.wait()
    assert submitted == answered == 500 - len(refused) + 1


def test_a_caller_that_hangs_up_ends_nothing(pb, server):
    with connect(server) as channel:
        send = authorize(channel, pb)
        future = send.future(request(pb, call_id="slow-300-x"), timeout=20)
        send(request(pb), timeout=5)  # The first one is in the gate by now.
        future.cancel()
        send(request(pb), timeout=5)
    server.term()
    assert server.wait() == (3, 3)


def test_a_callers_deadline_holds(pb, server):
    with connect(server) as channel:
        send = authorize(channel, pb)
        began = time.monotonic()
        error = failure_of(lambda: send(request(pb, call_id="slow-3000"), timeout=0.1))
        assert error.code() == Code.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 1.5
        assert send(request(pb), timeout=5).decision == pb.DECISION_ALLOWED


def test_health_follows_the_server(server):
    with connect(server) as channel:
        check = raw(channel, CHECK)
        assert check(b"", timeout=5) == b"\x08\x01"
        assert check(b"\x0a\x10callgate.v1.Gate", timeout=5) == b"\x08\x01"
        assert failure_of(lambda: check(b"\x0a\x01x", timeout=5)).code() == Code.NOT_FOUND
        server.drain()
        assert check(b"", timeout=5) == b"\x08\x02"


def test_a_draining_server_refuses_new_requests_and_answers_old_ones(pb, server):
    with connect(server) as channel:
        send = authorize(channel, pb)
        old = send.future(request(pb, call_id="slow-500-x"), timeout=20)
        send(request(pb), timeout=5)
        server.drain()
        error = failure_of(lambda: send(request(pb), timeout=5))
        assert error.code() == Code.UNAVAILABLE
        assert detail_of(pb, error).reason == pb.ERROR_REASON_SHUTTING_DOWN
        assert old.result().decision == pb.DECISION_ALLOWED


def test_who_was_answered_last_is_refused_in_words(pb, start_server):
    """However long ago he had asked: gRPC itself would say CANCELLED, which nobody retries."""
    for number in range(5):
        server = start_server()
        with connect(server) as channel:
            send = authorize(channel, pb)
            slow = send.future(request(pb, call_id="slow-200-1"), timeout=10)
            send(request(pb), timeout=5)  # behind it on the connection: the server has both
            server.term()
            assert slow.result().decision == pb.DECISION_ALLOWED
            with pytest.raises(grpc.RpcError) as caught:
                send(request(pb, call_id="next"), timeout=5)
            assert caught.value.code() == Code.UNAVAILABLE, number
            assert detail_of(pb, caught.value).reason == pb.ERROR_REASON_SHUTTING_DOWN


def test_a_shutdown_under_load_answers_every_request_once(pb, start_server):
    for _ in range(3):
        server = start_server(calls_max=512)
        with connect(server) as channel:
            send = authorize(channel, pb)
            answered, failed = [], []
            stop = threading.Event()

            def work(number):
                count = 0
                while not stop.is_set():
                    count += 1
                    try:
                        answered.append(send(request(pb, call_id=f"slow-5-{number}-{count}"),
                                             timeout=10))
                    except grpc.RpcError as error:
                        failed.append(error)
                        return

            workers = [threading.Thread(target=work, args=(i,)) for i in range(16)]
            for worker in workers:
                worker.start()
            wait_until(lambda: len(answered) > 200)
            server.term()
            submitted, gate_answered = server.wait()
            stop.set()
            for worker in workers:
                worker.join()
        assert submitted == gate_answered
        assert {error.code() for error in failed} <= {Code.UNAVAILABLE}, \
            [error.details() for error in failed]
        # None that the gate took was left without its answer.
        assert submitted == len(answered)


def test_requests_that_outlast_the_grace_are_cancelled(pb, start_server):
    server = start_server(grace_ms=200)
    with connect(server) as channel:
        future = authorize(channel, pb).future(request(pb, call_id="slow-2000"), timeout=20)
        authorize(channel, pb)(request(pb), timeout=5)
        began = time.monotonic()
        server.term()
        assert future.exception().code() in (Code.UNAVAILABLE, Code.CANCELLED)
        assert time.monotonic() - began < 1.5
        # The gate still has it, and what it does with it must not be pulled from under it.
        assert server.wait() == (2, 2)


def test_rubbish_on_the_socket_ends_only_its_connection(pb, server, channel):
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\0" * 100):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(server.path)
            try:
                peer.sendall(rubbish)
            except BrokenPipeError:
                pass
    assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED


def test_descriptors_that_run_out_come_back(pb, server):
    pid = server.process.pid
    taken = len(os.listdir(f"/proc/{pid}/fd"))
    subprocess.run(["prlimit", f"--nofile={taken + 5}", f"--pid={pid}"], check=True)
    peers = []
    for _ in range(20):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(server.path)
        peers.append(peer)
    wait_until(lambda: "connections are not accepted" in server.stderr())
    for peer in peers:
        peer.close()
    with connect(server) as channel:
        answer = authorize(channel, pb)(request(pb), timeout=10, wait_for_ready=True)
        assert answer.decision == pb.DECISION_ALLOWED


@pytest.mark.skipif(bool(WAITS_IN), reason="it waits in a thread")
def test_the_loop_itself_waits_for_grpc(server):
    proc = f"/proc/{server.process.pid}"

    def read_lines(fd):
        """What the kernel says of a descriptor, if it is an epoll of theirs; it may be closed by now."""
        try:
            if os.readlink(f"{proc}/fd/{fd}") != "anon_inode:[eventpoll]":
                return None
            with open(f"{proc}/fdinfo/{fd}", encoding="ascii") as lines:
                return list(lines)
        except FileNotFoundError:
            return None

    def one_epoll_watches_another():
        epolls = {fd: lines for fd in os.listdir(f"{proc}/fd")
                  if (lines := read_lines(fd)) is not None}
        watched = {line.split()[1] for lines in epolls.values() for line in lines
                   if line.startswith("tfd:")}
        return epolls.keys() & watched

    wait_until(one_epoll_watches_another)
    assert "was not found" not in server.stderr()


WIDER_BY_ONE = http2.frame(http2.WINDOW_UPDATE, 0, 0, b"\0\0\0\1")  # a word that nothing follows


class Peer:
    """A connection that sends its request by itself: with sendall() it is in the server's socket."""

    def __init__(self, server):
        self.socket = http2.connect(server.path, timeout=20)
        self.unread = b""
        self.socket.sendall(http2.HELLO + http2.ACK_OF_SETTINGS)

    def ask(self, stream, content):
        self.socket.sendall(http2.request(stream, content, http2.request_headers()))

    def wait_for_end(self, stream):
        while True:
            while len(self.unread) >= 9:
                length, kind, flags = int.from_bytes(self.unread[:3], "big"), self.unread[3], self.unread[4]
                of = int.from_bytes(self.unread[5:9], "big")
                if len(self.unread) < 9 + length:
                    break
                self.unread = self.unread[9 + length:]
                if kind == http2.HEADERS and flags & http2.END_STREAM and of == stream:
                    return
            more = self.socket.recv(65_536)
            assert more, "the server has closed the connection"
            self.unread += more


def test_many_connections_are_each_served_at_once(pb, server):
    """gRPC takes what is ready on all connections from epoll at once, handles one of them per look, and
    epoll does not tell of the rest again.  Behind one that says nothing the others would wait for the tick
    of 10 ms, were there no second look: here behind sixty of them, for 600 ms."""
    content, streams = request(pb).SerializeToString(), itertools.count(1, 2)
    silent, peers = [Peer(server) for _ in range(60)], [Peer(server) for _ in range(20)]

    def is_stopped():
        with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as stat_line:
            return stat_line.read().rsplit(")", 1)[1].split()[0] == "T"

    def round_s():
        stream = next(streams)
        server.process.send_signal(signal.SIGSTOP)
        wait_until(is_stopped)
        for peer in silent:
            peer.socket.sendall(WIDER_BY_ONE)
        for peer in peers:
            peer.ask(stream, content)
        began = time.monotonic()
        server.process.send_signal(signal.SIGCONT)
        for peer in peers:
            peer.wait_for_end(stream)
        return time.monotonic() - began

    try:
        # Ticks make half of all rounds slow, a busy machine a few of them for a while.
        wait_until(lambda: all(round_s() < 0.4 for _ in range(16)), 60)
    finally:
        server.process.send_signal(signal.SIGCONT)
        for peer in silent + peers:
            peer.socket.close()


def test_the_socket_is_for_owner_and_group(server):
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660


def test_a_second_server_is_refused_and_the_first_lives(pb, server, channel):
    second = Server(listen=server.listen)
    assert second.process.wait(10) == 1
    assert "another server is serving it" in second.stderr()
    second.folder.cleanup()
    assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED


def test_a_dead_servers_socket_is_taken_over(pb, server, start_server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    assert os.path.exists(server.path)
    successor = start_server(listen=server.listen)
    successor.path, successor.target = server.path, server.target
    with connect(successor) as channel:
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    successor.term()
    successor.wait()
    assert not os.path.exists(server.path)


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("keep")
    server = Server(listen=f"unix:{path}")
    assert server.process.wait(10) == 1
    assert "not a socket" in server.stderr()
    assert path.read_text() == "keep"
    server.folder.cleanup()


@pytest.mark.parametrize("listen, complaint", [
    ("0.0.0.0:0", "loopback"), ("10.0.0.1:50051", "loopback"), ("[::]:0", "loopback"),
    ("localhost:1", "must be"), ("127.0.0.1", "must be"), ("127.0.0.1:70000", "must be"),
    ("unix:", "1..107 bytes"), ("unix:/" + "x" * 200, "1..107 bytes"),
    ("unix:/nowhere/at/all.sock", "No such file"),
])
def test_an_address_that_cannot_be_served_is_refused_in_words(listen, complaint):
    server = Server(listen=listen)
    assert server.process.wait(10) == 1
    assert complaint in server.stderr()
    server.folder.cleanup()


def test_loopback_tcp_is_served_on_any_port(pb, start_server):
    server = start_server(listen="127.0.0.1:0=*")
    assert server.port > 0
    with connect(server) as channel:
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
