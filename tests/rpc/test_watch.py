"""Wallets.Watch, as watchers of the official gRPC client see it, hostile ones among them.

SPDX-License-Identifier: Apache-2.0
"""

import os
import queue
import signal
import socket
import threading
import time

import grpc
import pytest

from conftest import (COMPANY, authorize, connect, detail_of, raw, request, wait_until, watch)

WATCH = "/callgate.v1.Wallets/Watch"
OTHER = "fedcba98-7654-3210-fedc-ba9876543210"
Code = grpc.StatusCode


class Reader:
    """Reads a stream in a thread of its own; what came, and what it ended with."""

    def __init__(self, stream):
        self.stream = stream
        self.came = queue.Queue()
        self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            for message in self.stream:
                self.came.put(message)
        except grpc.RpcError as error:
            self.error = error

    def next(self, timeout=10):
        return self.came.get(timeout=timeout)

    def ended(self, timeout=10):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "it did not end in time"
        return self.error


def refusal_of(stream):
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    return caught.value


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as stat:
        words = stat.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def rss_kb(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_a_heartbeat_comes_at_once_and_again(pb, server, channel):
    began = time.monotonic()
    stream = watch(channel, pb, timeout=10)
    first = next(stream)
    assert time.monotonic() - began < 2
    assert not first.HasField("event")
    assert first.resume_token == "t0"
    assert first.as_of_ms == 1790000000000
    server.say("beat")
    assert not next(stream).HasField("event")


def test_an_event_keeps_its_fields(pb, server, channel):
    stream = watch(channel, pb, timeout=10)
    next(stream)
    server.tell(pb.EVENT_TYPE_CUT_WARNING, meta_bytes=64)
    answer = next(stream)
    event = answer.event
    assert event.id == "e3-1-1"
    assert event.type == pb.EVENT_TYPE_CUT_WARNING
    assert event.company_id == COMPANY
    assert event.call_id == "call"
    assert event.remaining_ms == 30000
    assert event.amount_micros == 1500 and event.available_micros == -7
    assert event.meta == {"00": "." * 62}
    assert answer.resume_token == "t1"
    server.tell(pb.EVENT_TYPE_CREDITED)
    credited = next(stream).event
    assert credited.id == credited.ledger_id == "3-1-2"
    assert credited.remaining_ms == 0 and credited.exhausts_at_ms == 1790000030000


def test_events_with_four_kibibytes_of_meta_come_in_order(pb, server, channel):
    stream = watch(channel, pb, timeout=20)
    next(stream)
    server.tell(pb.EVENT_TYPE_CUT_OFF, meta_bytes=4096, count=1000)
    for number in range(1, 1001):
        event = next(stream).event
        assert event.id == f"e3-1-{number}"
        assert len(event.meta) == 64


def test_filters_pass_through(pb, server, channel):
    cut_offs = Reader(watch(channel, pb, types=[pb.EVENT_TYPE_CUT_OFF, pb.EVENT_TYPE_CREDITED]))
    company = Reader(watch(channel, pb, company_id=OTHER))
    resumed = Reader(watch(channel, pb, resume_token="t2"))
    for reader in (cut_offs, company, resumed):
        reader.next()
    server.tell(pb.EVENT_TYPE_CUT_OFF)
    server.tell(pb.EVENT_TYPE_BALANCE_LOW, company=OTHER)
    server.tell(pb.EVENT_TYPE_CREDITED)
    assert [cut_offs.next().event.id for _ in range(2)] == ["e3-1-1", "3-1-3"]
    assert company.next().event.company_id == OTHER
    wait_until(lambda: server.counts()[1] >= 6)
    assert company.came.empty() and cut_offs.came.empty()
    for reader in (cut_offs, company, resumed):
        reader.stream.cancel()


def test_a_resume_token_reaches_the_events_room(pb, server, channel):
    server.tell(pb.EVENT_TYPE_CUT_OFF, count=5)
    stream = watch(channel, pb, timeout=10, resume_token="t3")
    next(stream)
    assert [next(stream).event.id for _ in range(2)] == ["e3-1-4", "e3-1-5"]


@pytest.mark.parametrize("fields, field, bound", [
    ({"company_id": "x"}, "company_id", "empty or a UUID of 36 characters"),
    ({"resume_token": "a b"}, "resume_token",
     "0..65536 bytes of printable ASCII, as it was answered"),
    ({"types": [0]}, "types", "at most 64 known types, none of them UNSPECIFIED"),
    ({"types": [18]}, "types", "at most 64 known types, none of them UNSPECIFIED"),
    ({"types": [7, -1]}, "types", "at most 64 known types, none of them UNSPECIFIED"),
    ({"types": [7] * 65}, "types", "at most 64 known types, none of them UNSPECIFIED"),
])
def test_a_bad_field_is_named_with_its_bound(pb, server, channel, fields, field, bound):
    error = refusal_of(watch(channel, pb, timeout=5, **fields))
    assert error.code() == Code.INVALID_ARGUMENT
    assert error.details() == f"{field}: must be {bound}"
    detail = detail_of(pb, error)
    assert detail.reason == pb.ERROR_REASON_INVALID_FIELD
    assert (detail.field, detail.bound) == (field, bound)
    assert server.watcher_count() == 0


def test_a_token_that_is_none_is_refused_in_the_events_rooms_words(pb, server, channel):
    error = refusal_of(watch(channel, pb, timeout=5, resume_token="nobody's"))
    assert error.code() == Code.INVALID_ARGUMENT
    assert error.details() == "resume_token: is no resume token"
    detail = detail_of(pb, error)
    assert detail.reason == pb.ERROR_REASON_INVALID_FIELD
    assert detail.field == "resume_token"
    assert detail.bound == "0..65536 bytes of printable ASCII, as it was answered"
    assert server.watcher_count() == 0


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x12\x02a\0", b"\x1a\x01\xff"])
def test_bytes_that_are_no_request_are_refused(pb, server, channel, message):
    stream = channel.unary_stream(WATCH, lambda b: b, lambda b: b)(message, timeout=5)
    assert refusal_of(stream).code() == Code.INVALID_ARGUMENT
    assert server.watcher_count() == 0


def test_a_half_close_without_a_request_is_an_invalid_argument(pb, channel):
    stream = channel.stream_stream(WATCH, lambda b: b, lambda b: b)(iter(()), timeout=5)
    error = refusal_of(stream)
    assert error.code() == Code.INVALID_ARGUMENT
    assert detail_of(pb, error).field == "WatchRequest"


def test_a_token_that_is_too_old_is_out_of_range(pb, server, channel):
    stream = watch(channel, pb, timeout=5, resume_token="old")
    next(stream)
    error = refusal_of(stream)
    assert error.code() == Code.OUT_OF_RANGE
    assert detail_of(pb, error).reason == pb.ERROR_REASON_TOKEN_TOO_OLD


@pytest.mark.parametrize("why, code, reason", [
    (0, Code.OUT_OF_RANGE, "TOKEN_TOO_OLD"),
    (1, Code.RESOURCE_EXHAUSTED, "WATCHER_TOO_SLOW"),
    (2, Code.UNAVAILABLE, "SHUTTING_DOWN"),
])
def test_each_end_has_its_code_and_reason(pb, server, channel, why, code, reason):
    stream = watch(channel, pb, timeout=5)
    next(stream)
    server.say(f"end {why}")
    error = refusal_of(stream)
    assert error.code() == code
    assert detail_of(pb, error).reason == getattr(pb, f"ERROR_REASON_{reason}")
    wait_until(lambda: server.watcher_count() == 0)


def test_an_end_before_the_first_message_is_told_too(pb, server, channel):
    """Ended in the turn in which it began, or soon after: either way with its reason."""
    for _ in range(20):
        stream = watch(channel, pb, timeout=5)
        server.say("end 1")
        server.say("counts")
        server.process.stdout.readline()
        server.say("end 1")
        while True:
            try:
                next(stream)
            except grpc.RpcError as error:
                assert error.code() == Code.RESOURCE_EXHAUSTED
                break
            server.say("end 1")


def test_a_cancel_frees_the_watcher_at_once(pb, server, channel):
    stream = watch(channel, pb)
    next(stream)
    assert server.watcher_count() == 1
    began = time.monotonic()
    stream.cancel()
    wait_until(lambda: server.watcher_count() == 0)
    assert time.monotonic() - began < 1


def test_a_connection_that_ends_frees_its_watchers(pb, server):
    with connect(server) as gone:
        streams = [watch(gone, pb) for _ in range(50)]
        for stream in streams:
            next(stream)
        assert server.watcher_count() == 50
    wait_until(lambda: server.watcher_count() == 0)


def test_a_callers_deadline_ends_it(pb, server, channel):
    stream = watch(channel, pb, timeout=0.3)
    next(stream)
    assert refusal_of(stream).code() == Code.DEADLINE_EXCEEDED
    wait_until(lambda: server.watcher_count() == 0)


def test_beyond_the_limit_a_watch_is_refused_and_then_taken_again(pb, start_server):
    server = start_server(watchers_max=5)
    with connect(server) as channel:
        streams = [watch(channel, pb) for _ in range(5)]
        for stream in streams:
            next(stream)
        error = refusal_of(watch(channel, pb, timeout=5))
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert detail_of(pb, error).reason == pb.ERROR_REASON_TOO_MANY_IN_FLIGHT
        # The limit is the watches' own.
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        streams[0].cancel()
        wait_until(lambda: server.watcher_count() == 4)
        next(watch(channel, pb, timeout=5))


def test_watches_take_nothing_from_the_requests(pb, start_server):
    server = start_server(calls_max=8)
    with connect(server) as channel:
        for stream in [watch(channel, pb) for _ in range(200)]:
            next(stream)
        send = authorize(channel, pb)
        for future in [send.future(request(pb), timeout=5) for _ in range(8)]:
            assert future.result().decision == pb.DECISION_ALLOWED


def test_two_thousand_watchers_on_one_connection_all_hear(pb, server, channel):
    began = rss_kb(server)
    readers = [watch(channel, pb, timeout=90) for _ in range(2000)]
    for stream in readers:
        next(stream)
    assert server.watcher_count() == 2000
    print("kB per watcher:", (rss_kb(server) - began) / 2000)
    server.tell(pb.EVENT_TYPE_CUT_OFF, count=2)
    for stream in readers:
        assert [next(stream).event.id for _ in range(2)] == ["e3-1-1", "e3-1-2"]
    # Requests get through beside them.
    assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    channel.close()
    wait_until(lambda: server.watcher_count() == 0)


def test_three_hundred_connections_all_hear(pb, server):
    channels = [connect(server) for _ in range(300)]
    try:
        streams = [watch(channel, pb, timeout=60) for channel in channels]
        for stream in streams:
            next(stream)
        server.tell(pb.EVENT_TYPE_CUT_OFF)
        for stream in streams:
            assert next(stream).event.id == "e3-1-1"
    finally:
        for channel in channels:
            channel.close()
    wait_until(lambda: server.watcher_count() == 0)


def test_a_watcher_beside_idle_connections_costs_little(pb, server):
    channels = [connect(server) for _ in range(200)]
    try:
        for channel in channels:
            authorize(channel, pb)(request(pb), timeout=10)
        stream = watch(channels[0], pb)
        next(stream)
        before = cpu_seconds(server)
        time.sleep(2)
        # Looking for its end in every turn took ten times of what is used.
        assert cpu_seconds(server) - before < 0.2
        stream.cancel()
    finally:
        for channel in channels:
            channel.close()


def test_who_does_not_read_is_ended_and_holds_up_nobody(pb, start_server):
    server = start_server(measured=True)
    with connect(server) as channel, connect(server) as lazy_channel:
        lazy = watch(lazy_channel, pb, timeout=60)
        next(lazy)
        reader = Reader(watch(channel, pb, timeout=60))
        reader.next()
        before = rss_kb(server)
        for _ in range(20):  # 80 MiB, of which four thousand events are kept
            server.tell(pb.EVENT_TYPE_CUT_OFF, meta_bytes=4096, count=1000)
            for _ in range(1000):
                reader.next()
            assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        assert rss_kb(server) - before < 30000
        # It comes for the next: what it missed is not kept any more.
        error = Reader(lazy).ended()
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert detail_of(pb, error).reason == pb.ERROR_REASON_WATCHER_TOO_SLOW
        wait_until(lambda: server.watcher_count() == 1)
        reader.stream.cancel()


def test_a_status_overtakes_what_is_stuck(pb, start_server):
    server = start_server(watchers_max=1)
    with connect(server, [("grpc.http2.bdp_probe", 0)]) as channel, connect(server) as other:
        stuck = watch(channel, pb, timeout=60)
        next(stuck)
        server.tell(pb.EVENT_TYPE_CUT_OFF, meta_bytes=4096, count=1000)
        before = [-1]

        def nothing_leaves_any_more():
            before.append(server.counts()[1])
            time.sleep(0.05)
            return before[-1] == server.counts()[1] > 1

        wait_until(nothing_leaves_any_more)
        assert before[-1] < 100  # the window is 64 KiB
        server.say("end 1")

        def has_left_room():
            try:
                next(watch(other, pb, timeout=5))
            except grpc.RpcError as refused:
                assert refused.code() == Code.RESOURCE_EXHAUSTED
                return False
            return True

        began = time.monotonic()
        wait_until(has_left_room)
        assert time.monotonic() - began < 3
        # It was cut off without having read, and finds out why when it reads at last.
        error = Reader(stuck).ended()
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert "too slowly" in error.details()


def test_a_draining_server_ends_watchers_and_takes_no_more(pb, server):
    with connect(server) as channel:
        streams = [watch(channel, pb, timeout=20) for _ in range(100)]
        for stream in streams:
            next(stream)
        server.drain()
        for stream in streams:
            error = refusal_of(stream)
            assert error.code() == Code.UNAVAILABLE
        assert detail_of(pb, error).reason == pb.ERROR_REASON_SHUTTING_DOWN
        error = refusal_of(watch(channel, pb, timeout=5))
        assert error.code() == Code.UNAVAILABLE
        assert detail_of(pb, error).reason == pb.ERROR_REASON_SHUTTING_DOWN


def test_watchers_do_not_hold_up_the_end(pb, start_server):
    server = start_server(grace_ms=30000)
    with connect(server) as channel, connect(server) as lazy_channel:
        reader = Reader(watch(channel, pb))
        reader.next()
        lazy = watch(lazy_channel, pb)
        next(lazy)
        server.tell(pb.EVENT_TYPE_CUT_OFF, meta_bytes=4096, count=1000)
        for _ in range(1000):
            reader.next()
        began = time.monotonic()
        server.term()
        error = reader.ended()
        assert error.code() == Code.UNAVAILABLE
        server.wait()
        # One of them does not read: that costs a second, not the grace.
        assert time.monotonic() - began < 5


def test_a_peer_that_is_stopped_holds_up_nobody(pb, start_server):
    """Its socket is full: nothing of what is sent to it leaves."""
    server = start_server(measured=True)
    channel = connect(server)
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(server.path)
    headers = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in [
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", WATCH.encode()),
            (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc")])
    frame = len(headers).to_bytes(3, "big") + b"\x01\x04\x00\x00\x00\x01" + headers
    message = b"\0\0\0\0\0"
    data = len(message).to_bytes(3, "big") + b"\x00\x01\x00\x00\x00\x01" + message
    # The largest window, so that only the socket is in the way.
    settings = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff"
    window = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00"
    peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window + frame + data)
    wait_until(lambda: server.watcher_count() == 1)
    before = rss_kb(server)
    for _ in range(5):
        server.tell(pb.EVENT_TYPE_CUT_OFF, meta_bytes=4096, count=1000)
        for _ in range(20):
            assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
    assert rss_kb(server) - before < 20000
    assert server.counts()[1] < 4000
    peer.close()
    wait_until(lambda: server.watcher_count() == 0)
    channel.close()


def test_a_shutdown_while_watchers_come_and_go_is_clean(pb, start_server):
    server = start_server()
    stop = threading.Event()
    ends = set()

    def come_and_go(channel):
        while not stop.is_set():
            stream = watch(channel, pb, timeout=5)
            try:
                next(stream)
                next(stream)
            except grpc.RpcError as error:
                ends.add(error.code())
                if error.code() == Code.UNAVAILABLE:
                    return
            stream.cancel()

    with connect(server) as channel:
        threads = [threading.Thread(target=come_and_go, args=(channel,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            server.tell(pb.EVENT_TYPE_CUT_OFF, count=20)
            time.sleep(0.01)
        server.term()
        server.wait()
        stop.set()
        for thread in threads:
            thread.join(20)
    assert ends <= {Code.UNAVAILABLE}


def test_watch_and_a_unary_call_of_the_same_bytes_do_not_mix(pb, server, channel):
    error = None
    try:
        raw(channel, WATCH)(pb.WatchRequest(types=[99]).SerializeToString(), timeout=5)
    except grpc.RpcError as caught:
        error = caught
    assert error is not None and error.code() == Code.INVALID_ARGUMENT
    server.process.send_signal(signal.SIGUSR1)
    assert server.process.stdout.readline() == "draining\n"
