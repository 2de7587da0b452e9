"""Gate.Session as a caller of the official gRPC client sees it, hostile ones among them.

SPDX-License-Identifier: Apache-2.0
"""

import queue
import threading
import time

import grpc
import pytest

from conftest import COMPANY, authorize, connect, request, wait_until

SESSION = "/callgate.v1.Gate/Session"
Code = grpc.StatusCode


class Session:
    """One stream: what is put is sent, what comes is read when it is asked for."""

    def __init__(self, channel, pb, timeout=30, raw=False, **more):
        self.pb = pb
        self.outgoing = queue.Queue()
        call = channel.stream_stream(
            SESSION, (lambda b: b) if raw else pb.SessionRequest.SerializeToString,
            pb.SessionResponse.FromString)
        self.call = call(iter(self.outgoing.get, None), timeout=timeout, **more)

    def send(self, tag, **op):
        self.outgoing.put(self.pb.SessionRequest(tag=tag, **op))

    def authorize(self, tag, call_id, **fields):
        self.send(tag, authorize=request(self.pb, call_id=call_id, **fields))

    def finish(self):
        self.outgoing.put(None)

    def answers(self, count):
        return [next(self.call) for _ in range(count)]

    def rest(self):
        """What still comes, by its tag, once all has been said."""
        self.finish()
        answers = list(self.call)
        assert self.call.code() == Code.OK
        return answers


def rss_kb(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.fixture
def session(pb, channel):
    opened = Session(channel, pb)
    yield opened
    opened.finish()
    opened.call.cancel()


def test_an_answer_comes_under_its_tag_with_what_the_method_would_have_said(pb, channel, session):
    alone = authorize(channel, pb)(request(pb, meta={"city": "Bern"}), timeout=5)
    session.authorize(2 ** 64 - 1, "c1", meta={"city": "Bern"})
    session.authorize(0, "c2")
    first, second = session.answers(2)
    assert (first.tag, first.status_code, first.status_message) == (2 ** 64 - 1, 0, "")
    assert first.authorize == alone
    assert second.tag == 0 and second.WhichOneof("op") == "authorize"


def test_every_operation_is_answered_by_its_own_field(pb, session):
    ids = {"company_id": COMPANY, "call_id": "c"}
    voice = {"resource_type": "voice_inbound"}
    operations = {
        "authorize": pb.AuthorizeRequest(**ids, **voice),
        "start": pb.StartRequest(**ids),
        "stop": pb.StopRequest(**ids),
        "settle": pb.SettleRequest(**ids, duration_ms=1),
        "cancel": pb.CancelRequest(**ids),
        "adopt": pb.AdoptRequest(**ids, **voice, started_at_ms=1),
    }
    for tag, (name, op) in enumerate(operations.items()):
        session.send(tag, **{name: op})
    assert [(answer.tag, answer.WhichOneof("op")) for answer in session.rest()] == \
        list(enumerate(operations))


def test_answers_come_as_they_are_ready_and_none_is_lost(pb, session):
    session.authorize(1, "slow-300")
    session.authorize(2, "slow-150")
    session.authorize(3, "quick")
    assert [answer.tag for answer in session.rest()] == [3, 2, 1]


@pytest.mark.parametrize("status, code, reason", [
    (2, Code.NOT_FOUND, "NO_WALLET"),
    (3, Code.FAILED_PRECONDITION, "WRONG_STATE"),
    (4, Code.ALREADY_EXISTS, "KEY_REUSED"),
    (7, Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
    (8, Code.UNAVAILABLE, "RECOVERING"),
    (13, Code.INTERNAL, "UNSPECIFIED"),
])
def test_what_the_gate_could_not_do_is_an_answer(pb, session, status, code, reason):
    session.authorize(7, f"status-{status}")
    session.authorize(8, "after")
    refused, after = session.answers(2)
    assert (refused.tag, refused.status_code) == (7, code.value[0])
    assert refused.WhichOneof("op") is None and refused.status_message
    assert refused.error.reason == getattr(pb, f"ERROR_REASON_{reason}")
    if reason == "WRONG_STATE":
        assert refused.error.state == pb.CALL_STATE_SETTLED
    assert (after.tag, after.status_code) == (8, 0)


def test_a_settle_with_other_content_says_what_was_charged(pb, session):
    session.send(1, settle=pb.SettleRequest(company_id=COMPANY, call_id="status-4", duration_ms=1))
    answer, = session.answers(1)
    assert answer.status_code == Code.ALREADY_EXISTS.value[0]
    assert answer.error.settled.cost_micros == 1500


@pytest.mark.parametrize("field, bound, op", [
    ("call_id", "1..128 bytes of printable ASCII", {"call_id": "x" * 129}),
    ("company_id", "a UUID", {"company_id": "nobody"}),
    ("destination", "empty or +[1-9]", {"destination": "0041"}),
    ("meta[city]", "UTF-8 without U+0000", {"meta": {"city": "Bern\0"}}),
    ("reserve_ms", "0..", {"reserve_ms": -1}),
])
def test_bad_input_names_the_field_and_closes_nothing(pb, session, field, bound, op):
    fields = {"company_id": COMPANY, "call_id": "c1", "resource_type": "voice_outbound", **op}
    session.authorize(1, "slow-100")
    session.send(2, authorize=pb.AuthorizeRequest(**fields))
    session.authorize(3, "slow-100x")
    answers = {answer.tag: answer for answer in session.rest()}
    assert answers[1].status_code == answers[3].status_code == 0
    assert answers[2].status_code == Code.INVALID_ARGUMENT.value[0]
    assert answers[2].error.reason == pb.ERROR_REASON_INVALID_FIELD
    assert answers[2].error.field == field
    assert bound in answers[2].error.bound
    assert answers[2].status_message.startswith(field.split("[")[0])


def test_no_operation_and_two_of_them_are_refused_under_their_tag(pb, channel):
    raw = Session(channel, pb, raw=True)
    cancel = pb.SessionRequest(
        tag=5, cancel=pb.CancelRequest(company_id=COMPANY, call_id="c")).SerializeToString()
    stop = pb.SessionRequest(
        stop=pb.StopRequest(company_id=COMPANY, call_id="c")).SerializeToString()
    raw.outgoing.put(pb.SessionRequest(tag=4).SerializeToString())
    raw.outgoing.put(cancel + stop)
    raw.outgoing.put(cancel.replace(b"\x08\x05", b"\x08\x06"))
    nothing, both, good = raw.rest()
    assert (nothing.tag, nothing.error.field) == (4, "op")
    assert (both.tag, both.error.field, both.status_code) == (5, "stop", 3)
    assert (good.tag, good.status_code, good.WhichOneof("op")) == (6, 0, "cancel")


def test_an_operation_that_cannot_be_read_is_refused_and_a_frame_that_cannot_ends_the_stream(
        pb, channel, server):
    raw = Session(channel, pb, raw=True)
    raw.outgoing.put(pb.SessionRequest(
        tag=1, authorize=request(pb, call_id="slow-200")).SerializeToString())
    raw.outgoing.put(b"\x08\x02\x12\x03\xff\xff\xff")  # tag 2, authorize of three odd bytes
    raw.outgoing.put(b"\xff\xff")
    raw.outgoing.put(pb.SessionRequest(tag=3, authorize=request(pb)).SerializeToString())
    odd, good = raw.answers(2)
    assert (odd.tag, odd.status_code, odd.error.field) == (2, 3, "AuthorizeRequest")
    assert (good.tag, good.status_code) == (1, 0)  # it had begun
    with pytest.raises(grpc.RpcError) as ended:
        next(raw.call)
    assert ended.value.code() == Code.INVALID_ARGUMENT
    assert ended.value.details() == "SessionRequest: must be a well-formed protobuf message"
    raw.finish()
    assert server.requests() == (1, 1)  # what came behind it has not begun


def test_a_tag_that_is_unanswered_is_refused_and_an_answered_one_is_free_again(pb, session):
    session.authorize(1, "slow-200")
    session.authorize(1, "c2")
    refused, first = session.answers(2)
    assert (refused.tag, refused.status_code, refused.error.field) == (1, 3, "tag")
    assert (first.tag, first.status_code) == (1, 0)
    session.authorize(1, "c3")
    again, = session.answers(1)
    assert (again.tag, again.status_code) == (1, 0)


def test_beyond_its_window_a_session_is_not_read(pb, start_server):
    server = start_server(session_window=8)
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(20):
            session.authorize(tag, f"slow-{1500 if tag < 8 else 0}")
        wait_until(lambda: server.requests()[0] == 8)
        # A call of its own goes there and back: what would be read has been read by then.
        assert authorize(channel, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        assert server.requests() == (9, 1)
        assert sorted(answer.tag for answer in session.rest()) == list(range(20))
        assert server.requests() == (21, 21)


def test_a_peer_that_does_not_read_is_not_read_either(pb, start_server):
    """Whatever it sends: what waits for it in us is a window of answers."""
    server = start_server(session_window=16, measured=True)
    with connect(server, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]) as channel:
        session = Session(channel, pb)
        before = rss_kb(server)
        bad = request(pb, call_id="y" * 8192)  # its answer names the field
        for tag in range(20000):
            session.send(tag, authorize=bad if tag % 2 else request(pb, call_id=f"c{tag}"))

        def settled():
            before = server.requests()
            time.sleep(0.3)
            return before[0] > 0 and server.requests() == before

        wait_until(settled, 20)
        assert server.requests()[0] < 10000
        assert rss_kb(server) - before < 20000
        with connect(server) as other:
            assert authorize(other, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        session.call.cancel()
        session.finish()
    server.term()
    submitted, answered = server.wait()
    assert submitted == answered


def test_a_window_that_is_huge_is_read_to_its_end(pb, start_server):
    server = start_server(session_window=5000, calls_max=6000, streams_max=6000)
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(5000):
            session.authorize(tag, f"slow-{tag % 40}")
        assert sorted(answer.tag for answer in session.rest()) == list(range(5000))


def test_many_sessions_share_the_requests_in_flight_and_are_told_so(pb, start_server):
    server = start_server(calls_max=10)
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(30):
            session.authorize(tag, "slow-300")
        answers = session.rest()
    full = [answer for answer in answers if answer.status_code]
    assert len(answers) == 30 and len(full) == 20
    assert {answer.status_code for answer in full} == {Code.RESOURCE_EXHAUSTED.value[0]}
    assert {answer.error.reason for answer in full} == {pb.ERROR_REASON_TOO_MANY_IN_FLIGHT}


def test_sessions_beyond_their_number_are_refused_until_one_has_ended(pb, start_server):
    server = start_server(sessions_max=2)
    with connect(server) as channel:
        held = [Session(channel, pb) for _ in range(2)]
        for session in held:
            session.authorize(1, "c1")
            session.answers(1)
        refused = Session(channel, pb)
        with pytest.raises(grpc.RpcError) as caught:
            next(refused.call)
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED
        refused.finish()
        assert held.pop().rest() == []

        def admitted():
            session = Session(channel, pb)
            session.authorize(1, "c1")
            try:
                return [answer.tag for answer in session.rest()] == [1]
            except grpc.RpcError:
                return False

        wait_until(admitted)
        held.pop().call.cancel()


def test_a_half_close_is_answered_in_full_and_then_ok(pb, session):
    for tag in range(200):
        session.authorize(tag, f"slow-{100 + tag % 3}")
    session.finish()
    assert len(list(session.call)) == 200
    assert session.call.code() == Code.OK


def test_a_half_close_without_a_word_is_ok(pb, session):
    assert session.rest() == []


def test_what_a_cancelled_session_has_begun_comes_to_its_end(pb, start_server):
    server = start_server()
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(50):
            session.authorize(tag, "slow-400")
        wait_until(lambda: server.requests()[0] == 50)
        session.call.cancel()
        session.finish()
        wait_until(lambda: server.requests() == (50, 50))
    server.term()
    assert server.wait() == (50, 50)


def test_a_connection_that_is_cut_leaves_nothing_behind(pb, start_server):
    server = start_server()
    channel = connect(server)
    session = Session(channel, pb)
    for tag in range(50):
        session.authorize(tag, "slow-300")
    wait_until(lambda: server.requests()[0] == 50)
    channel.close()
    session.finish()
    server.term()
    assert server.wait() == (50, 50)


def test_a_deadline_of_the_stream_is_one_of_its_operations(pb, channel, server):
    session = Session(channel, pb, timeout=0.3)
    session.authorize(1, "slow-3000")
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        next(session.call)
    assert caught.value.code() == Code.DEADLINE_EXCEEDED
    assert 0.2 < time.monotonic() - began < 2
    session.finish()


def test_a_server_that_drains_answers_what_has_begun_and_ends_its_sessions(pb, start_server):
    server = start_server()
    with connect(server) as channel:
        session = Session(channel, pb)
        idle = Session(channel, pb)
        idle.authorize(1, "c1")
        idle.answers(1)
        for tag in range(20):
            session.authorize(tag, "slow-500")
        wait_until(lambda: server.requests()[0] == 21)
        server.drain()
        for ended, count in ((idle, 0), (session, 20)):
            assert len(ended.answers(count)) == count
            with pytest.raises(grpc.RpcError) as caught:
                next(ended.call)
            assert caught.value.code() == Code.UNAVAILABLE
            ended.finish()
        late = Session(channel, pb)
        with pytest.raises(grpc.RpcError) as caught:
            next(late.call)
        assert caught.value.code() == Code.UNAVAILABLE
        late.finish()
    server.term()
    assert server.wait() == (21, 21)


def test_a_server_that_ends_answers_what_has_begun(pb, start_server):
    server = start_server(grace_ms=5000)
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(20):
            session.authorize(tag, "slow-300")
        wait_until(lambda: server.requests()[0] == 20)
        server.term()
        assert len(session.answers(20)) == 20
        with pytest.raises(grpc.RpcError) as caught:
            next(session.call)
        assert caught.value.code() == Code.UNAVAILABLE
        session.finish()
        assert server.wait() == (20, 20)


def test_a_server_ends_in_time_though_nobody_reads(pb, start_server):
    server = start_server(grace_ms=300)
    with connect(server, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]) as channel:
        session = Session(channel, pb)
        bad = request(pb, call_id="y" * 8192)
        for tag in range(5000):
            session.send(tag, authorize=bad)
        session.send(5000, authorize=request(pb))
        time.sleep(0.5)
        server.term()
        submitted, answered = server.wait()
        assert submitted == answered
        session.finish()


def test_a_compressed_message_ends_the_stream(pb, server):
    with connect(server) as channel:
        session = Session(channel, pb, compression=grpc.Compression.Gzip)
        session.authorize(1, "c" * 100, meta={"k": "v" * 3000})
        with pytest.raises(grpc.RpcError) as caught:
            next(session.call)
        assert caught.value.code() == Code.UNIMPLEMENTED
        session.finish()


def test_a_message_above_the_limit_ends_the_stream_and_nothing_else(pb, start_server):
    server = start_server()
    with connect(server) as channel:
        session = Session(channel, pb)
        other = Session(channel, pb)
        session.authorize(1, "slow-300")
        wait_until(lambda: server.requests()[0] == 1)
        session.authorize(2, "c2", meta={"k": "v" * 70000})
        with pytest.raises(grpc.RpcError) as caught:
            next(session.call)
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED
        session.finish()
        other.authorize(1, "c1")
        assert other.rest()[0].status_code == 0
    server.term()
    assert server.wait() == (2, 2)


def test_sessions_side_by_side_with_calls_of_their_own(pb, server):
    """Four sessions and four callers at once, each with everything answered under its tag."""
    failures = []

    def talk(number):
        try:
            with connect(server) as channel:
                session = Session(channel, pb)
                for tag in range(600):
                    session.authorize(tag, f"slow-{(tag * 7 + number) % 5}")
                assert sorted(answer.tag for answer in session.rest()) == list(range(600))
        except Exception as failure:  # told in the test's own thread
            failures.append(failure)

    def call(number):
        try:
            with connect(server) as channel:
                for i in range(200):
                    authorize(channel, pb)(request(pb, call_id=f"u{number}-{i}"), timeout=5)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=what, args=(n,)) for n in range(4) for what in (talk, call)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [failure for failure in failures]
