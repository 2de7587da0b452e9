"""Warned, told goodbye, ended, looked after until it has ended.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from support.contract import pb
from support.waiting import wait_until


@pytest.fixture
def make_short(make_world):
    """make_short(micros): a world, and a number whose calls cost 0.10 USD a second."""
    def make(micros=2_500_000, columns=None, **settings):
        world = make_world(margin_ms=0, **settings)
        world.stack.add_plan("short", guard_ms=1000, cut_warning_ms=1000, default_reserve_ms=1000,
                             cut_repeat_ms=1000)
        world.stack.sql("update callgate.rates set rate_micros_per_minute = 6000000, increment_ms = 100"
                        " where plan_id = 'short' and resource_type = 'voice_inbound'")
        company = world.client.funded(micros, plan_id="short")
        number = world.add_number(company, **(columns or {}))
        wait_until(lambda: world.client.authorize(company, "", "voice_inbound", "+15550100200",
                                                  validate_only=True).price.rate_micros_per_minute == 6_000_000, 10)
        return world, company, number
    return make


def spend(world, company, call):
    """But for two and a half seconds of the call."""
    world.wait_for_state(call.id, "running")
    world.client.charge(company, world.client.balance(company).available_micros - 250_000)


def said(call, kind):
    return [body for body in call.said if body["type"] == kind]


def test_an_exhausted_call_is_warned_told_goodbye_and_ended(make_short):
    # About eleven seconds.
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    assert 10 <= call.max_duration_s <= 12, call.answer
    spend(world, company, call)
    wait_until(lambda: call.status == "ended", 20, lambda: (call.said, world.edge.process.tail(15)))
    warning, goodbye = call.said[:2]
    assert warning == {"type": "say", "content": "We have about thirty seconds left on this call."}
    assert goodbye == {"type": "say", "content": "Our time is up. Goodbye.", "endCallAfterSpoken": True,
                       "interruptAssistantEnabled": True, "interruptionsEnabled": False}
    world.wait_until_charged(call.id)
    assert world.client.balance(company).posted_micros >= 0
    assert world.edge.count("cut_offs") == 1


def test_what_is_said_on_a_call_is_said_in_the_language_of_its_number(make_short):
    world, company, number = make_short(1_250_000, columns={"language": "fr"})
    world.stack.sql("insert into callgate.edge_sentences (language, situation, sentence) values"
                    " ('fr', 'warning', 'Encore trente secondes.'), ('fr', 'goodbye', 'Au revoir.'),"
                    " ('de', 'goodbye', 'Auf Wiederhören.')")
    world.settle_in()
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    # Also by an edge that has only Postgres to tell it of the call.
    world.edge.kill()
    world.edge.start()
    wait_until(lambda: call.status == "ended", 20, lambda: (call.said, world.edge.process.tail(15)))
    assert [body["content"] for body in call.said if body["type"] == "say"][-1] == "Au revoir."


def test_a_goodbye_that_does_not_end_it_is_followed_by_end_call(make_short):
    """vendors.md D6: there is no other way to end a call, and nothing is ever deleted."""
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(never_ends=True, end_call="ignored")
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    wait_until(lambda: said(call, "end-call"), 20)
    world.vapi.faults.set(end_call=None)
    wait_until(lambda: call.ended_reason == "manually-canceled", 10)
    world.wait_until_charged(call.id)
    assert [method for method, _ in world.vapi.requests if method == "DELETE"] == []


def test_end_call_that_answers_500_is_repeated_and_then_an_alarm(make_short):
    """vendors.md D6 and D5: end-call answers 500, the call goes on."""
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(never_ends=True, end_call=500)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    wait_until(lambda: world.edge.count("cut_alarms") == 1, 25)
    assert len(said(call, "end-call")) >= 2
    wait_until(lambda: "does_not_end" in world.reviews(call.id), 5)
    assert 'msg="call does not end"' in world.edge.process.text()
    world.vapi.faults.set(end_call=None)
    wait_until(lambda: call.status == "ended", 10)
    world.wait_until_charged(call.id)


def test_money_that_comes_in_time_lets_the_call_go_on(make_short):
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    wait_until(lambda: said(call, "say"), 20)
    world.client.credit(company, 50_000_000)
    accrued = world.client.balance(company).accrued_micros
    wait_until(lambda: world.client.balance(company).accrued_micros > accrued + 400_000, 10)
    assert call.status == "in-progress" and len(call.said) == 1


def test_the_edge_that_was_killed_cuts_off_after_its_restart(make_short):
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    world.edge.kill()
    wait_until(lambda: world.client.balance(company).available_micros <= 0, 20)
    world.edge.start()
    wait_until(lambda: call.status == "ended", 15, lambda: world.edge.process.tail(15))
    world.wait_until_charged(call.id)


def test_an_edge_that_did_not_hear_of_a_call_warns_it_and_forgets_it_when_it_ends(make_short):
    """It was restarted, or another one took the webhooks: Postgres has the control URL."""
    world, company, number = make_short(2_000_000)
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    world.edge.kill()
    world.client.credit(company, 500_000)
    world.edge.start()
    wait_until(lambda: call.said, 20, lambda: world.edge.process.tail(15))
    assert call.said[0] == {"type": "say", "content": "We have about thirty seconds left on this call."}
    assert world.edge.live_calls() == 1
    # Nobody tells this edge but the gate.
    world.client.settle(company, call.id, duration_ms=1000)
    wait_until(lambda: world.edge.live_calls() == 0, 10)


def test_a_lost_in_progress_leaves_the_provider_to_tell_the_control_url(make_short):
    world, company, number = make_short(1_250_000)
    world.vapi.faults.set(lost=1.0, never_ends=True)
    call = world.vapi.dial_in(number)
    world.client.charge(company, world.client.balance(company).available_micros - 250_000)
    wait_until(lambda: call.status == "ended", 25, lambda: world.edge.process.tail(15))
    assert said(call, "say")[-1]["endCallAfterSpoken"]


@pytest.mark.parametrize("url", [
    "http://127.0.0.2.nip.io:1/", "https://evil.example/control", "https://x.vapi.ai.evil.example/",
    "file:///etc/passwd", "https://user@127.0.0.1:1/", "http://169.254.169.254/latest"])
def test_a_control_url_that_leads_elsewhere_is_never_used_nor_logged(world, url):
    company, number = world.company()
    world.vapi.ring_s = 3600
    call = world.vapi.dial_in(number)
    body = call.status_update("in-progress")
    body["message"]["call"]["monitor"] = {"controlUrl": url + "secret-word"}
    assert world.edge.webhook(body)[0] == 200
    assert world.edge.count("control_refused") == 1
    assert world.stack.sql("select url from callgate.edge_controls") == []
    assert "secret-word" not in world.edge.process.text()


def test_secrets_are_in_no_log_and_go_with_the_call(world):
    company, number = world.company()
    call = world.vapi.dial_in(number)
    wait_until(lambda: world.stack.value("select count(*) from callgate.edge_controls") == 1, 5)
    world.vapi.hang_up(call.id, talk_ms=5000)
    world.wait_until_charged(call.id)
    assert world.stack.value("select count(*) from callgate.edge_controls") == 0
    text = world.edge.process.text()
    for secret in ("stand-in-secret", "stand-in-key", "token-of-the-tests", call.control_url, "control-"):
        assert secret not in text


def test_shadow_mode_is_recorded_and_not_obeyed(make_short):
    world, company, number = make_short(1_250_000)
    world.stack.sql("update callgate.plans set shadow = true where plan_id = 'short'")
    wait_until(lambda: world.client.authorize(
        company, "", "voice_inbound", "+15550100200", validate_only=True).shadow_decision
        != pb.DECISION_UNSPECIFIED, 10)
    world.vapi.faults.set(never_ends=True)
    call = world.vapi.dial_in(number)
    spend(world, company, call)
    wait_until(lambda: world.client.balance(company).available_micros < -300_000, 25)
    assert call.status == "in-progress" and call.said == []
