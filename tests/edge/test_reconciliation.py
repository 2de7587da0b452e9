"""What nobody reported is found at the provider, and charged once.

SPDX-License-Identifier: Apache-2.0
"""

import psycopg

from support.contract import pb
from support.edge import Edge
from support.waiting import wait_until


def test_missing_report_is_polled(world):
    """vendors.md D1, D2: the report never comes, and Vapi does not send again."""
    company, number = world.company()
    world.vapi.faults.set(report="none")
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    [(cost, meta)] = world.usage(company)
    assert (cost, meta["basis"]) == (82_667, "polled")
    assert world.edge.count("settled_polled") == 1


def test_a_call_of_which_every_webhook_is_lost_is_charged(world):
    """vendors.md D1: neither status-update nor report comes."""
    world.stack.add_plan("brief", longest_call_ms=12_000)
    company = world.client.funded(5_000_000, plan_id="brief")
    number = world.add_number(company)
    world.vapi.faults.set(lost=1.0)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=5_000)
    granted_ms = world.granted_ms(call.id)
    looks_in_s = world.stack.value("select extract(epoch from look_at - now()) from callgate.edge_calls"
                                   " where call_id = %s", [call.id])
    assert 0 < looks_in_s <= (granted_ms + 400) / 1000, "past its time, of its own accord"
    world.stack.sql("update callgate.edge_calls set look_at = now() where call_id = %s", [call.id])
    world.wait_until_charged(call.id, 30)
    assert [meta["basis"] for _, meta in world.usage(company)] == ["polled"]


def test_a_call_that_failed_to_connect_is_charged_nothing(world):
    """vendors.md D3: such calls give no report."""
    company, number = world.company()
    world.vapi.ring_s = 3600
    call = world.vapi.dial_in(number)
    world.vapi.miss(call.id)
    world.wait_until_charged(call.id)
    balance = world.client.balance(company)
    assert balance.posted_micros == 5_000_000 and balance.active_calls == 0 and balance.held_micros == 0


def test_a_call_the_provider_does_not_have_is_charged_nothing_unless_it_talked(world):
    company, number = world.company()
    world.vapi.faults.set(lost=1.0)
    world.vapi.ring_s = 3600
    call = world.vapi.dial_in(number)
    with world.vapi.lock:
        del world.vapi.calls[call.id]
    world.wait_for_state(call.id, "admitted")
    world.stack.sql("update callgate.edge_calls set look_at = now()")
    world.wait_until_charged(call.id)
    assert world.client.balance(company).active_calls == 0

    world.vapi.faults.set(lost=0.0)
    world.vapi.ring_s = 0
    talked = world.vapi.dial_in(number)
    world.wait_for_state(talked.id, "running")
    with world.vapi.lock:
        del world.vapi.calls[talked.id]
    world.stack.sql("update callgate.edge_calls set look_at = now()")
    world.wait_until_charged(talked.id)
    assert world.reviews(talked.id) == {"no_duration"}
    assert world.client.get_call(company, talked.id).state == pb.CALL_STATE_METERING


def test_while_the_provider_answers_429_it_is_asked_again(world):
    company, number = world.company()
    world.vapi.faults.set(report="none")
    world.vapi.faults.fail("/call/", 429, times=2)
    world.vapi.faults.fail("/call/", 500, times=1)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id, 20)
    assert world.costs(company) == [82_667] and world.edge.count("looks") >= 4


def test_a_call_started_past_the_gate_is_adopted_and_charged(make_world):
    """vendors.md D9: a number with a fixed assistant, a campaign: no assistant-request."""
    world = make_world(sweep_ms=300)
    company, number = world.company()
    call = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"},
                              "assistantId": "a"})
    world.vapi.faults.set(lost=1.0)
    wait_until(lambda: [c for c in world.client.live_calls(company) if c.call_id == call.id], 15,
               lambda: world.edge.process.tail(20))
    assert world.client.get_call(company, call.id).resource_type == "voice_outbound"
    world.vapi.hang_up(call.id)
    world.wait_until_charged(call.id, 60)
    assert len(world.costs(company)) == 1


def test_its_own_in_progress_is_enough_to_meter_a_call_started_past_the_gate(world):
    company, number = world.company()
    call = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"}})
    wait_until(lambda: [c for c in world.client.live_calls(company) if c.call_id == call.id], 10)
    world.vapi.hang_up(call.id, talk_ms=60_000)
    world.wait_until_charged(call.id)
    assert world.costs(company) == [100_000], "outbound to +1"


def test_what_the_list_shows_as_ended_and_nobody_told_of_is_charged(make_world):
    """vendors.md D1, D11: the list has no pages, and the company's own tariff holds."""
    world = make_world(sweep_ms=300, vapi={"report_s": 3600})
    company, number = world.company()
    calls = []
    world.vapi.faults.set(lost=1.0, report="none")
    for i in range(120):  # more than one part of the list
        call = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"}})
        call.created_ms -= i * 1000
        calls.append(call)
    wait_until(lambda: all(call.status == "in-progress" for call in calls), 10)
    for call in calls:
        world.vapi.hang_up(call.id, talk_ms=6_000)
    wait_until(lambda: len(world.costs(company)) == 120, 60,
               lambda: f"{len(world.costs(company))} charged\n{world.edge.process.tail(5)}")
    assert set(world.costs(company)) == {10_000}
    assert not [path for _, path in world.vapi.requests if "page=" in path]


def test_an_outbound_hold_that_expired_while_it_talks_is_started_anew(make_world):
    world = make_world()
    world.stack.add_plan("lease", ring_lease_ms=1000)
    company = world.client.funded(5_000_000, plan_id="lease")
    number = world.add_number(company)
    world.vapi.faults.set(lost=1.0)
    call = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"}})
    world.client.authorize(company, call.id, "voice_outbound", "+14155550100")
    wait_until(lambda: world.client.get_call(company, call.id).state == pb.CALL_STATE_EXPIRED, 10)
    world.stack.sql("select callgate.edge_call_note(%s, 'admitted', %s, 'outboundPhoneCall', %s, null,"
                    " 'voice_outbound', '+14155550100', null, false, false, null, null, null, null, null, 1)",
                    [call.id, company, number])
    wait_until(lambda: world.client.get_call(company, call.id).state == pb.CALL_STATE_METERING, 10,
               lambda: world.edge.process.tail(10))


def test_an_acknowledged_event_survives_the_death_of_the_edge(own_world):
    world = own_world
    company, number = world.company()
    world.vapi.faults.set(report="bare")
    world.vapi.faults.fail("/call/", 500, times=1)
    call = world.vapi.dial_in(number)
    world.vapi.hang_up(call.id, talk_ms=61_001)
    wait_until(lambda: ("end-of-call-report", 200) in call.deliveries, 10)
    world.edge.kill()
    assert world.costs(company) == []
    world.edge.start()
    world.wait_until_charged(call.id)
    assert world.costs(company) == [82_667]


def test_what_is_told_before_the_numbers_are_read_is_told_again(own_world):
    """An edge that has just started: whose call it is is not known yet, which is not nobody's."""
    world = own_world
    company, number = world.company()
    call = world.vapi.dial_in(number)
    world.wait_for_state(call.id, "running")
    world.edge.kill()
    # As if Postgres had been away when the call was let in and began to talk.
    world.stack.sql("delete from callgate.edge_calls; delete from callgate.edge_events")
    with psycopg.connect(world.stack.url) as other:
        other.execute("lock table callgate.edge_numbers in access exclusive mode")
        world.edge.process.start()
        world.vapi.hang_up(call.id, talk_ms=61_001)
        wait_until(lambda: ("end-of-call-report", 503) in call.deliveries, 10, lambda: call.deliveries)
    world.wait_until_charged(call.id)
    assert world.costs(company) == [82_667] and world.reviews(call.id) == set()


def test_nobodys_call_is_charged_at_its_look_where_its_number_was_entered_since(world):
    company, number = world.company()
    world.vapi.faults.set(lost=1.0, report="none")
    call = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"}})
    wait_until(lambda: call.status == "in-progress", 10)
    world.vapi.hang_up(call.id, talk_ms=60_000)
    # As a webhook leaves it that came when the number was not there.
    world.stack.sql("select callgate.edge_call_note(%s, 'ended', null, 'outboundPhoneCall', %s, null, 'voice_outbound',"
                    " null, null, false, true, null, null, null, null, null, 1)", [call.id, number])
    world.wait_until_charged(call.id)
    assert world.costs(company) == [100_000], "outbound to +1"


def test_two_edges_on_one_stack_charge_once(world):
    company, number = world.company()
    second = Edge(world.stack, world.vapi.url, name="edge-2").start()
    try:
        world.vapi.faults.set(report="none")
        calls = [world.vapi.dial_in(number) for _ in range(8)]
        for call in calls:
            world.vapi.hang_up(call.id, talk_ms=6_000)
        for call in calls:
            world.wait_until_charged(call.id)
        assert world.costs(company) == [8_000] * 8
    finally:
        second.stop()


def test_a_call_that_the_gate_has_and_no_row_is_left_of_gets_one(make_world):
    """It was let in while Postgres was away, or the edge died before its row was written."""
    world = make_world(sweep_ms=300)
    company = world.client.funded(5_000_000)
    # As the edge does it, and nothing else of it: the provider's list does not tell of it either.
    world.client.authorize(company, "c-without-row", "voice_inbound", "+15550100200", start=True,
                           meta={"provider": "vapi"})
    world.client.authorize(company, "c-of-another-provider", "voice_inbound", "+15550100200", start=True)
    row = world.wait_for_state("c-without-row", "admitted", 15)
    assert (row["company_id"], row["resource_type"], row["destination"]) == (
        company, "voice_inbound", "+15550100200")
    assert world.row("c-of-another-provider") is None


def test_what_is_told_late_of_an_earlier_state_puts_no_look_off(world):
    call = "c-noted-late"

    def note(state, look_in_ms):
        world.stack.sql("select callgate.edge_call_note(%s, %s, null, null, null, null, null, null, null, false, false,"
                        " null, null, null, null, null, %s)", [call, state, look_in_ms])
        return world.stack.value("select round(extract(epoch from look_at - now())) from callgate.edge_calls"
                                 " where call_id = %s", [call])

    assert note("ended", 60_000) == 60
    assert 55 <= note("admitted", 3_600_000) <= 60
    assert note("running", 5_000) == 5, "sooner is allowed"
    assert note("ended", 90_000) == 90
