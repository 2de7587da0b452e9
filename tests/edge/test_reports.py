"""status-update and end-of-call-report: charged once, for the right time, whatever order they come in.

SPDX-License-Identifier: Apache-2.0
"""

import time

import pytest

from support.contract import pb
from support.waiting import wait_until


def report(call_id, number, **members):
    return {"message": {"type": "end-of-call-report", "endedReason": "customer-ended-call", "analysis": {},
                        "artifact": {"messages": [], "transcript": "AI: Hello"},
                        "call": {"id": call_id, "type": "inboundPhoneCall", "status": "ringing",
                                 "phoneNumberId": number}, **members}}


def test_missing_duration_is_never_zero(world):
    """vendors.md D10: no member says how long it was, and the provider is asked."""
    company, number = world.company()
    world.vapi.faults.set(report="bare")
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    [(cost, meta)] = world.usage(company)
    assert (cost, meta["basis"]) == (82_667, "polled")


@pytest.mark.parametrize("fault, basis, duration_ms", [
    (None, "reported", 61_001), ("no-times", "polled", 61_001), ("stated", "polled", 61_001)])
def test_the_duration_comes_from_the_best_source_there_is(world, fault, basis, duration_ms):
    company, number = world.company()
    world.vapi.faults.set(report=fault)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    [(_, meta)] = world.usage(company)
    assert (meta["basis"], meta["duration_ms"]) == (basis, duration_ms)


@pytest.mark.parametrize("fault, duration_ms", [("no-times", 61_002), ("stated", 61_001)])
def test_while_the_provider_is_away_what_the_report_says_counts(world, fault, duration_ms):
    company, number = world.company()
    world.vapi.faults.set(report=fault)
    world.vapi.faults.fail("/call/", 503, times=1000)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    [(_, meta)] = world.usage(company)
    # Paid minutes have four places: 1.0167 of them.
    assert (meta["basis"], meta["duration_ms"]) == ("reported", duration_ms)


def test_nothing_said_and_the_provider_away_it_waits_and_is_charged_later(world):
    company, number = world.company()
    world.vapi.faults.set(report="bare")
    world.vapi.faults.fail("/call/", "timeout", times=1000)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    wait_until(lambda: ("end-of-call-report", 200) in call.deliveries, 10)
    assert world.usage(company) == []
    world.vapi.faults.set(rest=[])
    world.wait_until_charged(call.id, 20)
    assert world.costs(company) == [82_667]


def test_too_long_a_duration_is_charged_up_to_the_grant_and_parked(world):
    """vendors.md D5: stuck calls, and durations beyond any grant."""
    company, number = world.company(1_000_000)
    world.vapi.faults.set(report_duration_s=4000)
    call = world.vapi.dial_in(number)
    granted = world.granted_ms(call.id)
    assert granted < 4_000_000
    world.vapi.hang_up(call.id, talk_ms=15_000)
    world.wait_until_charged(call.id)
    [(cost, meta)] = world.usage(company)
    assert meta["duration_ms"] == granted and cost <= 1_000_000
    assert meta["meta"]["said_ms"] == "4000000"
    # The provider was paid for 15 s: that is told as well.
    wait_until(lambda: world.reviews(call.id) == {"over_grant", "costs_differ"}, 5)


def test_an_end_before_the_start_is_doubted_and_the_provider_asked(world):
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.vapi.faults.set(report_duration_s=-30)
    world.vapi.hang_up(call.id, talk_ms=20_000)
    world.wait_until_charged(call.id)
    assert [meta["duration_ms"] for _, meta in world.usage(company)] == [20_000]
    wait_until(lambda: "negative" in world.reviews(call.id), 5)


def test_a_stale_snapshot_is_not_believed(world):
    """vendors.md A.4: the report's own call may still ring, or claim another time."""
    company, number = world.company()
    call = world.vapi.dial_in(number)
    body = report(call.id, number, startedAt="2026-08-21T09:33:22.500Z", endedAt="2026-08-21T09:34:22.250Z")
    body["message"]["call"].update(startedAt="2026-08-21T09:00:00Z", endedAt="2026-08-21T09:00:01Z")
    assert world.edge.webhook(body)[0] == 200
    assert [meta["duration_ms"] for _, meta in world.usage(company)] == [59_750]


def test_the_same_report_again_changes_nothing(world):
    """vendors.md D4, D14: duplicates."""
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    wait_until(world.vapi.is_idle, 5)
    for _ in range(3):
        world.vapi.tell_again(call.id)
    world.vapi.tell_again(call.id, "status-update")
    wait_until(world.vapi.is_idle, 5)
    assert {status for _, status in call.deliveries} == {200} and world.costs(company) == [82_667]
    assert world.edge.count("webhooks_repeated") == 4
    assert world.stack.value("select deliveries from callgate.edge_events where call_id = %s"
                             " and type = 'end-of-call-report'", [call.id]) == 4


def test_a_second_report_that_says_otherwise_is_told_to_a_person(world):
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.client.settle(company, call.id, 10_000, durability=pb.DURABILITY_COMMITTED)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    assert [meta["duration_ms"] for _, meta in world.usage(company)] == [10_000]
    wait_until(lambda: world.reviews(call.id) == {"charged_otherwise"}, 5)


def test_the_report_before_everything_else(world):
    """vendors.md A.1: no order is promised."""
    company, number = world.company()
    call = world.vapi.dial_in(number)
    times = {"startedAt": "2026-08-21T09:33:22Z", "endedAt": "2026-08-21T09:33:52Z"}
    body = report("c-first-report", number, **times)
    assert world.edge.webhook(body)[0] == 200
    for status in ("ended", "in-progress"):
        late = {"message": {"type": "status-update", "status": status,
                            "call": {"id": "c-first-report", "type": "inboundPhoneCall",
                                     "phoneNumberId": number}}}
        assert world.edge.webhook(late)[0] == 200
    assert [meta["duration_ms"] for _, meta in world.usage(company)] == [30_000]
    assert [c.call_id for c in world.client.live_calls(company)] == [call.id]


def test_a_report_without_a_call_here_is_charged_late(world):
    company, number = world.company()
    assert world.edge.webhook(report("c-unheard-of", number, startedAt=1787300000000,
                                     endedAt="2026-08-21T10:13:50.5+02:00"))[0] == 200
    call = world.client.get_call(company, "c-unheard-of")
    assert call.late and call.state == pb.CALL_STATE_SETTLED and call.duration_ms == 30_500


def test_a_report_of_nobodys_call_is_parked(world):
    assert world.edge.webhook(report("c-of-nobody", "pn-of-nobody", startedAt="2026-08-21T09:33:22Z",
                                     endedAt="2026-08-21T09:34:22Z"))[0] == 200
    wait_until(lambda: world.reviews("c-of-nobody") == {"unmatched"}, 5)


def test_a_call_that_cannot_be_priced_is_parked_and_tried_again(world):
    """vendors.md D12: what fails is seen, and not lost."""
    company, number = world.company()
    world.stack.sql("insert into callgate.plans (plan_id) values ('unpriced')")
    world.client.update_wallet(company, plan_id="unpriced")
    body = report("c-unpriced", number, startedAt="2026-08-21T09:33:22Z", endedAt="2026-08-21T09:34:22Z")
    wait_until(lambda: world.client.authorize(company, "", "voice_inbound", "+15550100200",
                                              validate_only=True).decision == pb.DECISION_DENIED_NO_PRICE, 10)
    assert world.edge.webhook(body)[0] == 200
    wait_until(lambda: world.reviews("c-unpriced") == {"not_charged"}, 5)
    world.client.update_wallet(company, plan_id="starter")
    world.stack.sql("update callgate.edge_calls set look_at = now() where call_id = 'c-unpriced'")
    world.vapi.faults.fail("/call/c-unpriced", 404)
    assert world.row("c-unpriced")["state"] == "ended"


def test_metering_starts_with_the_talk_and_stops_with_its_end(world):
    company, number = world.company()
    world.vapi.report_s = 3600
    call = world.vapi.dial_in(number)
    world.wait_for_state(call.id, "running")
    assert world.client.balance(company).burn_micros_per_minute == 80_000
    world.vapi.hang_up(call.id)
    wait_until(lambda: world.client.get_call(company, call.id).state == pb.CALL_STATE_STOPPED, 5)
    assert world.client.balance(company).burn_micros_per_minute == 0


def test_a_transcript_of_megabytes_is_taken_and_not_kept(world):
    company, number = world.company()
    call = world.vapi.dial_in(number)
    message = {"role": "bot", "message": "word " * 40, "time": 1787300000123.5, "duration": 12.25}
    body = report(call.id, number, startedAt="2026-08-21T09:33:22Z", endedAt="2026-08-21T09:34:22Z")
    body["message"]["artifact"] = {"messages": [message] * 15_000, "transcript": "AI: word " * 200_000}
    began = time.monotonic()
    assert world.edge.webhook(body)[0] == 200
    assert time.monotonic() - began < 5
    kept = world.stack.value("select max(pg_column_size(content)) from callgate.edge_events")
    assert kept < 2000 and world.costs(company) == [80_000]


@pytest.mark.parametrize("raw, why", [
    (b"", "at byte 0"), (b"{", "no string"), (b'{"message":{}}', "message.type"), (b"[1]", "message.type"),
    (b'{"message":{"type":"end-of-call-report","call":{"id":null}}}', "message.call.id"),
    (b'{"message":{"type":"status-update","call":{"id":"c"}}}', "message.status"),
    (b'{"message":{"type":"end-of-call-report","call":{"id":"a b"}}}', "message.call.id"),
    (b'{"message":' + b"[" * 100 + b"]" * 100 + b"}", "too deep"),
    (b'{"message":{"type":"x","n":' + b"1" * 50 + b"}}", "number too long"),
    (b'{"message":{"type":"hang"}} trailing', "more than one"), (b'{"message":{"type":"\x01"}}', "control")])
def test_poison_is_answered_400_and_never_sent_again(world, raw, why):
    status, answer = world.edge.webhook(None, raw=raw)
    assert status == 400 and why in answer["error"], answer


def test_news_that_nobody_asked_for_is_answered_200(world):
    for kind in ("conversation-update", "speech-update", "hang", "transfer-update", "call.deleted", "new.kind"):
        assert world.edge.webhook({"message": {"type": kind, "call": {"id": "c"}}}) == (200, {})


@pytest.mark.parametrize("reason", ["call.in-progress.error-vapifault-openai-llm-failed", "worker-shutdown"])
def test_faults_of_the_provider_are_waived_where_that_is_the_policy(make_world, reason):
    world = make_world(fault_calls="waive")
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, reason, talk_ms=61_001)
    world.wait_until_charged(call.id)
    assert world.costs(company) == [0]
    wait_until(lambda: world.reviews(call.id) >= {"waived"}, 5)


def test_our_own_empty_account_is_an_alarm(world):
    _, number = world.company()
    call = world.vapi.dial_in(number)
    world.vapi.miss(call.id, "call.start.error-subscription-insufficient-credits")
    wait_until(lambda: world.edge.count("account_alarms") == 1, 5)
    assert "our account at the provider is empty or blocked" in world.edge.process.text()


def test_nothing_is_answered_200_before_it_is_in_the_ledger(own_world):
    """vendors.md D12: 2xx only after the commit; the gate away is 503, and it comes again."""
    world = own_world
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.wait_for_state(call.id, "running")
    world.stack.sidecar.kill()
    world.vapi.hang_up(call.id, talk_ms=61_001)
    wait_until(lambda: ("end-of-call-report", 503) in call.deliveries, 20)
    assert ("end-of-call-report", 200) not in call.deliveries and world.costs(company) == []
    world.stack.sidecar.start()
    world.wait_until_charged(call.id, 30)
    assert world.costs(company) == [82_667]

