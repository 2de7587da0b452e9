"""watch against a scripted stream: what it asks, what it prints and when, how it ends.

SPDX-License-Identifier: Apache-2.0
"""

import json
import signal
import time

import grpc
import pytest

from cli_support import (COMPANY, DONE, FORBIDDEN, REFUSED, UNAVAILABLE, USAGE, Run, Stream)
from support.contract import pb
from support.waiting import wait_until
from test_gate_commands import as_contract

AT = 1_795_343_564_758
AT_TEXT = "2026-11-22 10:32:44.758 UTC"
T_STAR = "2026-11-22 10:33:14.758 UTC"
HEARTBEAT = pb.WatchResponse(resume_token="t0", as_of_ms=AT)


def event(kind, **fields):
    fields = {"id": "1-5-1", "at_ms": AT, "company_id": COMPANY, "call_id": "c1", **fields}
    return pb.Event(type=pb.EventType.Value(f"EVENT_TYPE_{kind}"), **fields)


def message(kind, token="", **fields):
    return pb.WatchResponse(event=event(kind, **fields), resume_token=token, as_of_ms=AT)


CUT_OFF = message("CUT_OFF", "t1", exhausts_at_ms=AT + 30_000)

# the event -> what its line says after the company
WORDS = [
    (event("CALL_AUTHORIZED", amount_micros=110_001, available_micros=5),
     "c1  0.110001 USD  held; 0.000005 USD available"),
    (event("CALL_AUTHORIZED", amount_micros=110_001, available_micros=-5,
           shadow_decision=pb.DECISION_DENIED_INSUFFICIENT_FUNDS),
     "c1  0.110001 USD  held; -0.000005 USD available;"
     " without shadow mode: denied_insufficient_funds"),
    (event("CALL_STARTED", available_micros=1), "c1  -  connected, metering; 0.000001 USD available"),
    (event("CALL_SETTLED", amount_micros=0, basis=pb.DURATION_BASIS_REPORTED),
     "c1  0.000000 USD  charged for 0 s, reported; 0.000000 USD available"),
    (event("CALL_SETTLED", amount_micros=80_000, billed_ms=48_000, available_micros=2,
           basis=pb.DURATION_BASIS_POLLED),
     "c1  0.080000 USD  charged for 48 s, polled; 0.000002 USD available"),
    (event("CALL_CANCELLED", amount_micros=5),
     "c1  0.000005 USD  never connected, its hold was released; 0.000000 USD available"),
    (event("CALL_EXPIRED", amount_micros=5),
     "c1  0.000005 USD  did not start in time, its hold was released; 0.000000 USD available"),
    (event("CALL_ABANDONED", amount_micros=5, billed_ms=3_600_000,
           basis=pb.DURATION_BASIS_ASSUMED),
     "c1  0.000005 USD  nobody settled it: charged for 1 h, assumed; 0.000000 USD available"),
    (event("CUT_OFF", exhausts_at_ms=AT + 30_000),
     f"c1  -  end this call now: nothing is left since {T_STAR}"),
    (event("CUT_OFF", exhausts_at_ms=AT + 30_000, repeat=2, shadow=True),
     "c1  -  shadow mode, to record and not to obey: nothing is left since"
     f" {T_STAR}; repeated, number 2"),
    (event("BALANCE_LOW", call_id="", available_micros=9, remaining_ms=61_000,
           exhausts_at_ms=AT + 30_000),
     "-  -  below the threshold: 0.000009 USD available, enough for 1 min 1 s at this burn"),
    (event("BALANCE_LOW", call_id="", available_micros=9),
     "-  -  below the threshold: 0.000009 USD available"),
    (event("CREDITED", call_id="", amount_micros=-5, available_micros=7,
           entry_type=pb.ENTRY_TYPE_MONTHLY_GRANT, reference_id="r1",
           exhausts_at_ms=AT + 30_000),
     "-  -0.000005 USD  monthly_grant, reference r1; 0.000007 USD available,"
     f" lasts until {T_STAR}"),
    (event("CUT_WARNING", remaining_ms=30_000, exhausts_at_ms=AT + 30_000),
     f"c1  -  cut-off follows in 30 s, at {T_STAR}"),
    (event("CUT_WARNING", remaining_ms=30_000, exhausts_at_ms=AT + 30_000, shadow=True),
     f"c1  -  shadow mode, to record only: cut-off follows in 30 s, at {T_STAR}"),
    (event("CALL_CORRECTED", amount_micros=-7, billed_ms=6_000, available_micros=1,
           basis=pb.DURATION_BASIS_REPORTED),
     "c1  -0.000007 USD  a late bill changed what was assumed by that; billed 6 s, reported;"
     " 0.000001 USD available"),
    (event("CALL_DENIED", decision=pb.DECISION_DENIED_CONCURRENCY_LIMIT, repeat=3),
     "c1  -  denied_concurrency_limit; 0.000000 USD available; 3 more are not told"),
    (event("CALL_ADOPTED", amount_micros=5),
     "c1  0.000005 USD  ran already, metered from its start; 0.000000 USD available"),
    (event("CHARGED", call_id="", amount_micros=5, reference_id="rent-1"),
     "-  0.000005 USD  reference rent-1; 0.000000 USD available"),
    (event("WALLET_UPDATED", call_id=""),
     "-  -  created, frozen, unfrozen, or on another plan"),
    (event("CALL_STOPPED", available_micros=1),
     "c1  -  the talk is over, its bill is awaited; 0.000001 USD available"),
    (event("CALL_OVERDUE"),
     "c1  -  past its longest duration and not settled: ask the provider now"),
]


@pytest.mark.parametrize("told, words", WORDS, ids=[
    f"{pb.EventType.Name(row[0].type)[11:]}-{number}" for number, row in enumerate(WORDS)])
def test_an_event_is_told_in_one_line(gate, told, words):
    run = gate.run("watch", "--company", COMPANY, "--count", 1,
                   Watch=Stream(HEARTBEAT, pb.WatchResponse(event=told)))
    kind = pb.EventType.Name(told.type)[len("EVENT_TYPE_"):]
    assert run.code == DONE, run
    assert run.lines() == [f"{AT_TEXT}  {kind:15}  {COMPANY}  {words}"]


def test_every_type_has_its_words():
    assert {row[0].type for row in WORDS} == set(pb.EventType.values()) - {0}


def test_a_type_of_a_later_version_is_told(gate):
    later = pb.Event(id="1", type=99, at_ms=AT, company_id=COMPANY)
    run = gate.run("watch", "--count", 1, Watch=Stream(pb.WatchResponse(event=later)))
    assert run.code == DONE and "of a type that this version does not know" in run.out


def test_without_a_company_no_currency_is_claimed(gate):
    run = gate.run("watch", "--count", 1, Watch=Stream(message("CHARGED", amount_micros=5)))
    assert "  0.000005  reference" in run.out
    assert [name for name, _ in gate.asked] == ["Watch"]
    assert gate.request("Watch") == pb.WatchRequest()


def test_the_flags_are_asked_for(gate):
    gate.run("watch", "--company", COMPANY, "--type", "CUT_OFF,CALL_AUTHORIZED,CALL_OVERDUE",
             "--resume", "t7", "--count", 1, "--json", Watch=Stream(CUT_OFF))
    assert gate.request("Watch") == pb.WatchRequest(
        company_id=COMPANY, resume_token="t7", types=[
            pb.EVENT_TYPE_CALL_AUTHORIZED, pb.EVENT_TYPE_CUT_OFF, pb.EVENT_TYPE_CALL_OVERDUE])


def test_every_type_can_be_asked_for(gate):
    names = [name[len("EVENT_TYPE_"):] for name in pb.EventType.keys()[1:]]
    gate.run("watch", "--type", ",".join(names), "--count", 1, Watch=Stream(CUT_OFF))
    assert gate.request("Watch").types == pb.EventType.values()[1:]


def test_a_line_comes_when_its_event_comes(gate):
    stream = Stream(HEARTBEAT)
    live = gate.watch(stream=stream)
    for number in range(3):
        assert live.lines.empty()
        stream.put(message("CUT_OFF", f"t{number}", call_id=f"c{number}"))
        assert f"  c{number}  " in live.line()
    code, error = live.interrupt()
    assert (code, error) == (DONE, "resume with --resume t2\n")
    assert live.lines.empty()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_last_token(gate, number):
    live = gate.watch(stream=Stream(HEARTBEAT, CUT_OFF, message("CUT_OFF")))
    live.line(), live.line()
    assert live.interrupt(number) == (DONE, "resume with --resume t1\n")
    live = gate.watch("--json", stream=Stream(HEARTBEAT, CUT_OFF))
    live.line()
    assert live.interrupt(number) == (DONE, '{"resume_token":"t1"}\n')


def test_without_an_answer_the_token_given_is_still_the_one(gate):
    live = gate.watch("--resume", "mine", stream=Stream())
    wait_until(lambda: gate.asked, 20)
    assert live.interrupt() == (DONE, "resume with --resume mine\n")
    live = gate.watch(stream=Stream())
    wait_until(lambda: gate.asked, 20)
    assert live.interrupt() == (DONE, "")


def test_json_is_one_object_per_line(gate):
    messages = [CUT_OFF, HEARTBEAT, message("CREDITED", "", amount_micros=5, meta={"k": "v"})]
    run = gate.run("watch", "--json", "--count", 2, Watch=Stream(HEARTBEAT, *messages))
    assert run.code == DONE
    assert [json.loads(line) for line in run.lines()] == [
        as_contract(messages[0]), as_contract(messages[2])]
    run = gate.run("watch", "--json", "--heartbeats", "--count", 2,
                   Watch=Stream(HEARTBEAT, *messages))
    assert [json.loads(line) for line in run.lines()] == [
        as_contract(one) for one in [HEARTBEAT, *messages]]


def test_heartbeats_are_for_programs(gate):
    run = gate.run("watch", "--heartbeats", Watch=Stream())
    assert (run.code, run.out) == (USAGE, "") and "--heartbeats" in run.err


def test_it_ends_after_seconds(gate):
    begun = time.monotonic()
    run = gate.run("watch", "--for", 1, Watch=Stream(HEARTBEAT, CUT_OFF))
    assert run.code == DONE and len(run.lines()) == 1
    assert run.err == "resume with --resume t1\n"
    assert 1 <= time.monotonic() - begun < 20


def test_a_stream_that_breaks_is_resumed(gate):
    stream = Stream(HEARTBEAT, CUT_OFF, (grpc.StatusCode.UNAVAILABLE, "shutting down", None))
    live = gate.watch("--type", "CUT_OFF", stream=stream)
    assert "  c1  " in live.line()
    wait_until(lambda: len(gate.asked) >= 2, 20)
    assert gate.asked[1][1] == pb.WatchRequest(
        resume_token="t1", types=[pb.EVENT_TYPE_CUT_OFF])
    live.interrupt()


ENDS = [
    (grpc.StatusCode.UNAUTHENTICATED, FORBIDDEN),
    (grpc.StatusCode.PERMISSION_DENIED, FORBIDDEN),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, UNAVAILABLE),
    (grpc.StatusCode.INVALID_ARGUMENT, USAGE),
    (grpc.StatusCode.OUT_OF_RANGE, REFUSED),
]


@pytest.mark.parametrize("status, code", ENDS, ids=[row[0].name for row in ENDS])
def test_a_final_end_has_its_exit_code(gate, status, code):
    detail = pb.ErrorDetail(reason=pb.ERROR_REASON_TOKEN_TOO_OLD)
    end = (status, "because", detail)
    run = gate.run("watch", "--json", Watch=Stream(CUT_OFF, end))
    assert run.code == code and len(run.lines()) == 1, run
    assert run.error["status"] == status.name
    assert run.error["reason"] == "ERROR_REASON_TOKEN_TOO_OLD"

    run = gate.run("watch", Watch=Stream(CUT_OFF, end))
    assert run.code == code and run.err.startswith("callgate watch: because"), run
    useless = status in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT)
    assert ("--resume t1" in run.err) is not useless


def test_nobody_at_the_address_is_unavailable():
    line = ["watch", "--address", "unix:/nonexistent/gate.sock", "--timeout-ms", "300"]
    assert Run(line).code == UNAVAILABLE
    run = Run([*line, "--json"])
    assert (run.code, run.out, run.error["status"]) == (UNAVAILABLE, "", "UNAVAILABLE")


def test_a_silent_sidecar_is_unavailable_and_a_quiet_one_is_not(gate):
    run = gate.run("watch", "--timeout-ms", 200, "--for", 1, Watch=Stream())
    assert run.code == UNAVAILABLE and "not answered within 200 ms" in run.err
    run = gate.run("watch", "--timeout-ms", 500, "--for", 1, Watch=Stream(HEARTBEAT))
    assert run.code == DONE


def test_a_terminal_never_sees_control_characters(gate):
    nasty = "a\x1b[2J\n\u009b31m"
    run = gate.run("watch", "--count", 1, Watch=Stream(
        message("CREDITED", nasty, call_id=nasty, company_id=nasty, reference_id=nasty)))
    assert run.code == DONE and len(run.lines()) == 1
    assert not set("\x1b\u009b") & set(run.out + run.err)
