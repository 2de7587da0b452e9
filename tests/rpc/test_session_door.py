"""Sessions at the guarded door: roles, companies, rates and limits, as for calls of their own.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from conftest import COMPANY, authorize, connect, request, wait_until
from test_door import OTHER, Credentials
from test_session import Session

THIRD = "00000000-0000-4000-8000-000000000001"
Code = grpc.StatusCode


@pytest.fixture
def credentials(tmp_path):
    made = Credentials(tmp_path / "credentials")
    made.add("gate", "gate")
    return made.add("bound", "gate", f"{COMPANY},{THIRD}")


def authorize_for(pb, session, tag, company):
    session.send(tag, authorize=pb.AuthorizeRequest(
        company_id=company, call_id=f"c{tag}", resource_type="voice_inbound"))


def end_of(session):
    """How it ended, once what was answered has been read."""
    with pytest.raises(grpc.RpcError) as ended:
        list(session.call)
    session.finish()
    return ended.value.code(), ended.value.details()


def full(answers):
    return [answer for answer in answers
            if answer.status_code == Code.RESOURCE_EXHAUSTED.value[0]]


@pytest.mark.parametrize("role", ["billing", "admin", "billing,admin"])
def test_a_session_takes_the_role_gate(pb, start_server, credentials, role):
    credentials.add("other", role)
    server = start_server(credentials_file=credentials.path)
    with connect(server) as channel:
        session = Session(channel, pb, metadata=credentials["other"])
        session.authorize(1, "c1")
        assert end_of(session) == (Code.PERMISSION_DENIED, "this takes the role gate")
        session = Session(channel, pb)
        assert end_of(session)[0] == Code.UNAUTHENTICATED
        session = Session(channel, pb, metadata=credentials["gate"])
        session.authorize(1, "c1")
        assert [answer.status_code for answer in session.rest()] == [0]
    assert server.doors()["permission_denied"] == server.doors()["unauthenticated"] == 1
    server.term()
    assert server.wait() == (1, 1)


def test_another_company_is_denied_by_its_tag_and_the_session_goes_on(pb, start_server, credentials):
    server = start_server(credentials_file=credentials.path)
    ids = {"company_id": OTHER, "call_id": "c"}
    voice = {"resource_type": "voice_inbound"}
    with connect(server) as channel:
        session = Session(channel, pb, metadata=credentials["bound"])
        session.authorize(1, "c1")
        foreign = [pb.AuthorizeRequest(**ids, **voice), pb.StartRequest(**ids),
                   pb.StopRequest(**ids), pb.SettleRequest(**ids, duration_ms=1),
                   pb.CancelRequest(**ids), pb.AdoptRequest(**ids, **voice, started_at_ms=1)]
        for tag, op in enumerate(foreign, 10):
            session.send(tag, **{type(op).__name__.removesuffix("Request").lower(): op})
        authorize_for(pb, session, 2, THIRD)
        answers = {answer.tag: answer for answer in session.rest()}
        assert answers[1].status_code == answers[2].status_code == 0
        for tag in range(10, 10 + len(foreign)):
            assert answers[tag].status_code == Code.PERMISSION_DENIED.value[0]
            assert answers[tag].status_message == "the credential is not for this company"
            assert answers[tag].WhichOneof("op") is None
    assert server.doors()["permission_denied"] == len(foreign)
    server.term()
    assert server.wait() == (2, 2)


def test_authorizes_of_a_company_are_counted_within_sessions_too(pb, start_server):
    server = start_server(authorizes_per_second=1, authorizes_burst=3)
    with connect(server) as channel:
        session = Session(channel, pb)
        for tag in range(6):
            session.authorize(tag, f"c{tag}")
        authorize_for(pb, session, 100, OTHER)
        session.send(101, cancel=pb.CancelRequest(company_id=COMPANY, call_id="c0"))
        answers = session.rest()
        refused = full(answers)
        assert sorted(answer.tag for answer in refused) == [3, 4, 5]
        for answer in refused:
            assert answer.error.reason == pb.ERROR_REASON_TOO_MANY_AUTHORIZES
            assert 1 <= answer.error.retry_after_ms <= 1000
        assert {answer.tag for answer in answers if not answer.status_code} == {0, 1, 2, 100, 101}
        # One bucket, however they come.
        with pytest.raises(grpc.RpcError) as caught:
            authorize(channel, pb)(request(pb), timeout=5)
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED
    assert server.doors()["refused_rate"] == 4


def test_a_connection_has_its_streams_for_calls_and_sessions_together(pb, start_server):
    server = start_server(streams_max=8)
    with connect(server) as channel, connect(server) as other:
        sessions = [Session(channel, pb) for _ in range(2)]
        for session in sessions:
            for tag in range(3):
                session.authorize(tag, "slow-800")
        wait_until(lambda: server.requests()[0] == 6)
        # 2 sessions and 6 of theirs are 8.
        sessions[0].authorize(3, "c3")
        refused, = sessions[0].answers(1)
        assert (refused.tag, refused.status_code) == (3, Code.RESOURCE_EXHAUSTED.value[0])
        assert refused.error.reason == pb.ERROR_REASON_TOO_MANY_IN_FLIGHT
        with pytest.raises(grpc.RpcError) as caught:
            authorize(channel, pb)(request(pb), timeout=5)
        assert caught.value.code() == Code.RESOURCE_EXHAUSTED
        assert end_of(Session(channel, pb))[0] == Code.RESOURCE_EXHAUSTED
        assert authorize(other, pb)(request(pb), timeout=5).decision == pb.DECISION_ALLOWED
        assert [len(session.rest()) for session in sessions] == [3, 3]
        wait_until(lambda: server.metrics()["callgate_sessions"] == 0)
        futures = [authorize(channel, pb).future(request(pb, call_id=f"slow-100-{n}"), timeout=5)
                   for n in range(8)]
        assert [future.code() for future in futures] == [Code.OK] * 8
    assert server.doors()["refused_connection_in_flight"] == 3


def test_a_session_ends_with_its_credential_and_no_other_does(pb, start_server, credentials):
    credentials.add("changed", "gate")
    server = start_server(credentials_file=credentials.path)
    names = ("bound", "changed", "gate")
    with connect(server) as channel:
        sessions = {name: Session(channel, pb, metadata=credentials[name]) for name in names}
        for session in sessions.values():
            session.authorize(1, "slow-1000")
        wait_until(lambda: server.requests()[0] == 3)
        credentials.drop("bound")
        credentials.lines = [line.replace("gate * changed", f"gate {OTHER} changed")
                             for line in credentials.lines]
        credentials.write()
        server.reload()
        for name in ("bound", "changed"):
            begun, = sessions[name].answers(1)
            assert (begun.tag, begun.status_code) == (1, 0)  # what has begun is answered
            assert end_of(sessions[name]) == (
                Code.UNAUTHENTICATED, "the credential was taken away or changed")
        sessions["gate"].authorize(2, "c2")
        assert sorted(answer.tag for answer in sessions["gate"].rest()) == [1, 2]
        assert end_of(Session(channel, pb, metadata=credentials["bound"]))[0] == Code.UNAUTHENTICATED
    assert server.doors()["sessions_revoked"] == 2
    server.term()
    assert server.wait() == (4, 4)


def test_roles_of_the_door_are_those_of_a_session_without_a_credential(pb, start_server, tmp_path):
    ways = {"gate": Code.OK, "billing": Code.PERMISSION_DENIED}
    paths = {role: tmp_path / f"{role}.sock" for role in ways}
    server = start_server(listen=",".join(f"unix:{path}={role}" for role, path in paths.items()))
    assert server.port == 0
    for role, code in ways.items():
        with grpc.insecure_channel(f"unix:{paths[role]}") as channel:
            session = Session(channel, pb)
            session.authorize(1, "c1")
            if code == Code.OK:
                assert [answer.tag for answer in session.rest()] == [1]
            else:
                assert end_of(session)[0] == code
