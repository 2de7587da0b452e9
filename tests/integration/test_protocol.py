"""What a peer may send on the wire: nothing of it aborts, hangs or goes unanswered.

SPDX-License-Identifier: Apache-2.0
"""

import os
import socket
import struct
import time

import grpc
import pytest

from support.client import Client, Failure, new_company
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
AUTHORIZE = "/callgate.v1.Gate/Authorize"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header, not indexed, not compressed."""
    assert len(name) < 127 and len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def headers(path=AUTHORIZE, extra=()):
    pairs = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()),
             (b":authority", b"localhost"), (b"te", b"trailers"),
             (b"content-type", b"application/grpc"), *extra]
    return b"".join(literal(name, value) for name, value in pairs)


class RawConnection:
    """HTTP/2 by hand, as far as these tests need it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.socket.sendall(PREFACE + frame(4, 0, 0))

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def frames(self):
        """What the server sends, until it closes."""
        held = b""
        while True:
            while len(held) >= 9 and len(held) >= 9 + int.from_bytes(held[:3], "big"):
                size = int.from_bytes(held[:3], "big")
                yield held[3], held[4], int.from_bytes(held[5:9], "big"), held[9:9 + size]
                held = held[9 + size:]
            more = self.socket.recv(65536)
            if not more:
                return
            held += more

    def until_stream_ends(self, stream=1):
        """All header blocks of a stream, in one piece; acknowledges settings on the way."""
        blocks = b""
        for kind, flags, number, payload in self.frames():
            if kind == 4 and not flags & 1:
                self.send(frame(4, 1, 0))
            if number != stream:
                continue
            if kind == 1:
                blocks += payload
            if kind == 3 or flags & 1 and kind in (0, 1):
                return blocks
        return blocks

    def close(self):
        self.socket.close()


@pytest.fixture
def connection(shared_stack):
    made = RawConnection(shared_stack.sidecar.socket)
    yield made
    made.close()


def grpc_status(blocks):
    """The status among literal or Huffman-coded headers: found by its name's neighbourhood."""
    at = blocks.find(b"grpc-status")
    assert at >= 0, blocks
    size = blocks[at + 11]
    return blocks[at + 12:at + 12 + size].decode()


def test_a_half_close_without_a_message_is_an_invalid_argument(shared, connection):
    connection.send(frame(1, 0x4, 1, headers()), frame(0, 0x1, 1))
    assert grpc_status(connection.until_stream_ends()) == "3"
    wait_until(shared.is_serving, 5, "the sidecar serves on")


def test_an_empty_message_is_an_invalid_argument(shared, connection):
    connection.send(frame(1, 0x4, 1, headers()), frame(0, 0x1, 1, b"\0\0\0\0\0"))
    assert grpc_status(connection.until_stream_ends()) == "3"
    wait_until(shared.is_serving, 5, "the sidecar serves on")


def test_a_message_cut_short_is_not_taken(shared, connection):
    connection.send(frame(1, 0x4, 1, headers()), frame(0, 0x1, 1, b"\0\0\0\0\x20short"))
    assert grpc_status(connection.until_stream_ends()) != "0"
    wait_until(shared.is_serving, 5, "the sidecar serves on")


def test_a_caller_that_resets_its_stream_leaves_nothing_behind(shared, shared_stack):
    company = shared.funded(1_000_000)
    request = pb.AuthorizeRequest(company_id=company, call_id="c",
                                  resource_type="voice_outbound",
                                  destination="+14155550100").SerializeToString()
    message = b"\0" + struct.pack(">I", len(request)) + request
    connection = RawConnection(shared_stack.sidecar.socket)
    connection.send(frame(1, 0x4, 1, headers()), frame(0, 0x1, 1, message),
                    frame(3, 0, 1, struct.pack(">I", 8)))
    connection.close()
    wait_until(shared.is_serving, 5, "the sidecar serves on")
    # Whether it was decided or not: the same key decides it, once.
    assert shared.authorize(company, "c").decision == pb.DECISION_ALLOWED
    assert shared.balance(company).active_calls == 1


def test_noise_instead_of_http2_is_dropped(shared, shared_stack):
    for noise in [b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", PREFACE + b"\xff" * 1000, b""]:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(shared_stack.sidecar.socket))
        try:
            peer.sendall(noise)
        except BrokenPipeError:
            pass
        peer.close()
    wait_until(shared.is_serving, 5, "the sidecar serves on")


def test_a_compressed_message_is_unimplemented(shared):
    company = shared.funded(1_000_000)
    request = pb.AuthorizeRequest(company_id=company, call_id="c", resource_type="voice_outbound",
                                  destination="+14155550100", meta={"k": "v" * 2000})
    with pytest.raises(grpc.RpcError) as caught:
        shared.gate.Authorize(request, timeout=10, compression=grpc.Compression.Gzip)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert shared.balance(company).active_calls == 0


def test_an_oversized_message_is_refused(shared):
    company = shared.funded(1_000_000)
    with pytest.raises(grpc.RpcError) as caught:
        shared.authorize(company, "c", meta={"k": "v" * 1_000_000})
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert shared.authorize(company, "c").decision == pb.DECISION_ALLOWED


def test_oversized_metadata_is_refused(shared):
    with pytest.raises(grpc.RpcError) as caught:
        shared.wallets.GetBalance(pb.GetBalanceRequest(company_id=new_company()), timeout=10,
                                  metadata=[("x-much", "v" * 60_000)])
    assert caught.value.code() != grpc.StatusCode.NOT_FOUND  # it did not get that far
    wait_until(shared.is_serving, 5, "the sidecar serves on")


def test_what_is_not_in_the_contract_is_unimplemented(shared):
    with pytest.raises(grpc.RpcError) as caught:
        shared.channel.unary_unary("/callgate.v1.Gate/NoSuchMethod")(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadlines_are_honoured_while_the_store_hangs(make_stack):
    stack = make_stack()
    company = stack.client.funded(10_000_000)
    stack.client.authorize(company, "warm")
    stack.redis.process.signal(19)  # SIGSTOP
    try:
        for timeout in [0.05, 0.1, 5.0]:
            began = time.monotonic()
            failure = stack.client.fails("authorize", company, "c", timeout=timeout)
            took = time.monotonic() - began
            assert failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            assert took < min(timeout, 0.25) + 0.5, f"{timeout}: took {took}"
    finally:
        stack.redis.process.signal(18)  # SIGCONT
    allowed = wait_until(lambda: _authorized(stack.client, company), 15, "decided again")
    assert allowed.decision == pb.DECISION_ALLOWED
    # What was answered UNAVAILABLE did not begin afterwards on top of this one.
    assert stack.client.balance(company).active_calls == 2
    check_invariants(stack)


def _authorized(client, company):
    try:
        return client.authorize(company, "c")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, Failure(error)
        return None


def test_more_requests_than_the_limit_are_refused_and_the_rest_answered(make_stack):
    stack = make_stack(calls_max=16)
    company = stack.client.funded(10_000_000)
    stack.client.authorize(company, "warm")
    stack.redis.process.signal(19)
    try:
        asked = [stack.client.wallets.GetBalance.future(
            pb.GetBalanceRequest(company_id=company), timeout=10) for _ in range(64)]
        codes = [each.code() for each in asked]
    finally:
        stack.redis.process.signal(18)
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) > 0
    assert set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE,
                          grpc.StatusCode.OK}
    wait_until(lambda: _balance(stack.client, company), 15, "answers again")


def _balance(client, company):
    try:
        return client.balance(company)
    except grpc.RpcError:
        return None


def test_many_connections_come_and_go(shared, shared_stack):
    descriptors = f"/proc/{shared_stack.sidecar.process.pid}/fd"
    before = len(os.listdir(descriptors))
    for _ in range(50):
        with Client(shared_stack.sidecar.address) as client:
            assert client.is_serving()
    wait_until(lambda: len(os.listdir(descriptors)) <= before + 2, 10, "descriptors are closed")
