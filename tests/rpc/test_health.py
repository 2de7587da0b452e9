"""Health, asked once and watched.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import struct
import threading

import grpc
import pytest

from conftest import connect, raw, wait_until
from support import http2
from test_rpc import failure_of

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
STREAMS_MAX = 1024
CONNECTION_STREAMS_MAX = 256
Code = grpc.StatusCode


def named(service):
    return b"\x0a" + bytes([len(service)]) + service.encode()


def watch(channel, request=b"", timeout=20):
    return channel.unary_stream(WATCH, lambda b: b, lambda b: b)(request, timeout=timeout)


class Told:
    """What a watch has been told so far, read by a thread of its own."""

    def __init__(self, stream):
        self.stream = stream
        self.statuses = []
        self.error = None
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            for status in self.stream:
                self.statuses.append(status)
        except grpc.RpcError as error:
            self.error = error

    def end(self):
        self.stream.cancel()
        self.thread.join(10)


@pytest.mark.parametrize("service", ["", "callgate.v1.Gate", "callgate.v1.Wallets"])
def test_every_service_can_be_checked_and_watched(server, channel, service):
    request = named(service) if service else b""
    assert raw(channel, CHECK)(request, timeout=5) == SERVING
    told = Told(watch(channel, request))
    wait_until(lambda: told.statuses == [SERVING])
    server.say("serving 0")
    wait_until(lambda: told.statuses == [SERVING, NOT_SERVING])
    assert raw(channel, CHECK)(request, timeout=5) == NOT_SERVING
    server.say("serving 1")
    wait_until(lambda: told.statuses == [SERVING, NOT_SERVING, SERVING])
    told.end()


def test_what_did_not_change_is_not_told_again(server, channel):
    told = Told(watch(channel))
    wait_until(lambda: told.statuses == [SERVING])
    for _ in range(3):
        server.say("serving 1")
    server.say("serving 0")
    wait_until(lambda: len(told.statuses) == 2)
    assert told.statuses == [SERVING, NOT_SERVING]
    told.end()


def test_a_service_that_is_not_known_is_not_found_and_watched_all_the_same(server, channel):
    unknown = named("nobody.v1.Service")
    assert failure_of(lambda: raw(channel, CHECK)(unknown, timeout=5)).code() == Code.NOT_FOUND
    told = Told(watch(channel, unknown))
    wait_until(lambda: told.statuses == [SERVICE_UNKNOWN])
    server.say("serving 0")
    known = Told(watch(channel))
    wait_until(lambda: known.statuses[-1:] == [NOT_SERVING])
    assert told.statuses == [SERVICE_UNKNOWN]  # the change is none of its
    told.end()
    known.end()


def test_draining_is_told_behind_what_is_still_on_its_way(server):
    """By hand: the peer has no room for the first status when the server drains."""
    ask = http2.request(1, b"", http2.request_headers(WATCH))
    with http2.connect(server.path) as peer:
        assert http2.send(peer, http2.PREFACE + http2.settings(initial_window_size=0)
                          + http2.ACK_OF_SETTINGS + ask)
        seen = b""
        while b"application/grpc" not in seen:  # the headers: the message is behind them
            seen += peer.recv(4096)
        server.drain()
        http2.send(peer, http2.frame(http2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1000)))
        while b"grpc-status" not in seen:
            seen += peer.recv(4096)
    first, last = (http2.frame(http2.DATA, 0, 1, http2.message(s)) for s in (SERVING, NOT_SERVING))
    assert 0 < seen.find(first) < seen.find(last) < seen.find(b"grpc-status")


def test_draining_is_told_before_the_watch_ends(server, channel):
    told = Told(watch(channel))
    wait_until(lambda: told.statuses == [SERVING])
    server.drain()
    told.thread.join(10)
    assert told.statuses == [SERVING, NOT_SERVING]
    assert told.error.code() == Code.UNAVAILABLE
    # One who comes now is refused at once; a check is answered.
    error = failure_of(lambda: next(watch(channel)))
    assert error.code() == Code.UNAVAILABLE
    assert raw(channel, CHECK)(b"", timeout=5) == NOT_SERVING


def test_a_server_that_closes_with_watches_open_closes_in_time(start_server):
    server = start_server(grace_ms=20000)
    with connect(server) as channel:
        watches = [Told(watch(channel)) for _ in range(20)]
        wait_until(lambda: all(told.statuses for told in watches))
        server.term()
        for told in watches:
            told.thread.join(10)
            assert told.statuses == [SERVING, NOT_SERVING]
            assert told.error.code() == Code.UNAVAILABLE
    # The client is gone, which nobody had to be cut for.
    server.wait(timeout=10)


def test_watches_have_a_limit_and_leave_their_place(server):
    limits = 'callgate_limits_hit_total{{limit="{}"}}'
    with contextlib.ExitStack() as channels:
        streams = []
        for n in range(STREAMS_MAX // CONNECTION_STREAMS_MAX):
            channel = channels.enter_context(connect(server))
            for _ in range(CONNECTION_STREAMS_MAX):
                streams.append(watch(channel))
                assert next(streams[-1]) == SERVING
            # It has its share, whether or not there is room.
            assert failure_of(lambda: next(watch(channel))).code() == Code.RESOURCE_EXHAUSTED
            assert server.metrics()[limits.format("connection_streams")] == n + 1
        channel = channels.enter_context(connect(server))
        error = failure_of(lambda: next(watch(channel)))
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert server.metrics()[limits.format("streams")] == 1
        assert raw(channel, CHECK)(b"", timeout=5) == SERVING
        for stream in streams:
            stream.cancel()

        def has_place():
            stream = watch(channel)
            try:
                return next(stream) == SERVING
            except grpc.RpcError:
                return False
            finally:
                stream.cancel()
        wait_until(has_place)
