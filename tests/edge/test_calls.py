"""A call from its first ring to its charge.

SPDX-License-Identifier: Apache-2.0
"""

from support.contract import pb
from support.waiting import wait_until


def test_a_call_is_admitted_metered_and_charged_exactly_once(world):
    company, number = world.company(5_000_000)
    call = world.vapi.dial_in(number)
    status, answer = call.answer
    assert status == 200 and answer["assistantId"] == "assistant-1", answer
    # 5 USD at 0.08 a minute, less headroom; Vapi's limit is 2 s less than the gate's.
    granted = world.client.get_call(company, call.id)
    assert granted.state == pb.CALL_STATE_METERING
    overrides = answer["assistantOverrides"]
    assert set(answer) == {"assistantId", "assistantOverrides"} and set(overrides) == {
        "maxDurationSeconds", "metadata"}, "nothing is sent that Vapi might not take"
    assert overrides["metadata"] == {"company_id": company, "reservation_id": call.id}
    assert overrides["maxDurationSeconds"] == (world.granted_ms(call.id) - 2000) // 1000
    world.wait_for_state(call.id, "running")
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    # 62 s begun at 0.08 USD a minute.
    [(cost, meta)] = world.usage(company)
    assert (cost, meta["duration_ms"], meta["basis"]) == (82_667, 61_001, "reported"), meta
    assert meta["meta"]["provider_cost_micros"] == str(round(call.cost * 1_000_000))
    assert meta["meta"]["ended_reason"] == "customer-ended-call"
    assert world.client.balance(company).posted_micros == 5_000_000 - 82_667
    assert world.client.balance(company).active_calls == 0
    wait_until(world.vapi.is_idle, 5)
    assert {kind: status for kind, status in call.deliveries} == {
        "assistant-request": 200, "status-update": 200, "end-of-call-report": 200}
