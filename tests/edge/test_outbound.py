"""Calls that we make, web calls, campaigns: each has its own gate (vendors.md A.9).

SPDX-License-Identifier: Apache-2.0
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid

import pytest

from support.contract import pb
from support.waiting import wait_until

LANDLINE = "+14155550100"


def place(world, company, number, request_id=None, customer=LANDLINE, **members):
    return world.edge.api("/api/calls", {
        "company_id": company, "phone_number_id": number, "customer_number": customer,
        "request_id": request_id or str(uuid.uuid4()), **members})


def test_a_call_is_made_with_its_grant_and_charged(world):
    company, number = world.company(5_000_000)
    status, answer = place(world, company, number)
    assert (status, answer["outcome"]) == (201, "placed"), answer
    call = world.vapi.call(answer["call_id"])
    granted_ms = world.granted_ms(call.id)
    assert call.name == answer["name"] == world.row(call.id)["name"] and len(call.name) <= 40
    assert call.overrides["maxDurationSeconds"] == answer["max_seconds"] == (granted_ms - 2000) // 1000
    assert call.customer == {"number": LANDLINE, "externalId": company} and call.assistant_id == "assistant-1"
    wait_until(lambda: world.client.get_call(company, call.name).state == pb.CALL_STATE_METERING, 10)
    world.vapi.hang_up(call.id, talk_ms=60_000)
    world.wait_until_charged(call.id)
    [(cost, meta)] = world.usage(company)
    assert (cost, meta["call_id"], meta["meta"]["provider_call_id"]) == (100_000, call.name, call.id)
    assert world.client.balance(company).active_calls == 0


def test_the_same_request_again_makes_no_second_call(world):
    company, number = world.company()
    request_id = str(uuid.uuid4())
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(place(world, company, number, request_id)))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({status for status, _ in answers}) in ([200, 201], [201, 202], [200, 201, 202]), answers
    assert [status for status, _ in answers].count(201) == 1 and len(world.vapi.calls) == 1
    status, again = wait_until(lambda: [a for a in [place(world, company, number, request_id)] if a[0] == 200], 10)[0]
    assert again["call_id"] == next(iter(world.vapi.calls))
    assert place(world, company, number, request_id, "+442071234567")[0] == 409


def test_no_funds_no_call(world):
    company, number = world.company(0)
    assert place(world, company, number) == (200, {"outcome": "denied_insufficient_funds",
                                                   "name": world_name(world)})
    assert world.vapi.calls == {}


def world_name(world):
    line = next(line for line in reversed(world.edge.process.text().splitlines()) if 'msg="outbound call"' in line)
    return line.split("name=")[1].split()[0]


def test_an_answer_that_was_lost_is_found_by_its_name(world):
    """vendors.md A.9: POST /call has no idempotency key, so it is never sent again."""
    company, number = world.company()
    world.vapi.faults.set(create="lost")
    status, answer = place(world, company, number)
    assert (status, answer["outcome"]) == (202, "unknown")
    made = wait_until(lambda: list(world.vapi.calls.values()), 5)
    assert [call.name for call in made] == [answer["name"]]
    world.stack.sql("update callgate.edge_calls set look_at = now() where call_id = %s", [answer["name"]])
    wait_until(lambda: (world.row(made[0].id) or {}).get("name") == answer["name"], 10)
    wait_until(lambda: world.client.get_call(company, answer["name"]).state == pb.CALL_STATE_METERING, 10)
    world.vapi.hang_up(made[0].id, talk_ms=60_000)
    world.wait_until_charged(made[0].id)
    assert [cost for cost, _ in world.usage(company)] == [100_000]
    assert len(world.vapi.calls) == 1


def test_a_call_that_was_never_made_gives_its_hold_back(world):
    company, number = world.company()
    world.vapi.faults.fail("/call", 500, times=1, method="POST")
    status, answer = place(world, company, number)
    assert (status, answer["outcome"]) == (202, "unknown")
    assert world.client.balance(company).held_micros > 0
    world.stack.sql("update callgate.edge_calls set look_at = now() where call_id = %s", [answer["name"]])
    world.wait_until_charged(answer["name"])
    assert world.client.get_call(company, answer["name"]).state == pb.CALL_STATE_CANCELLED
    assert world.client.balance(company).held_micros == 0


def test_a_refusal_of_the_provider_gives_the_hold_back_at_once(world):
    company, number = world.company()
    world.vapi.faults.set(create="refused")
    status, answer = place(world, company, number)
    assert (status, answer["outcome"]) == (502, "refused_by_provider")
    wait_until(lambda: world.client.balance(company).held_micros == 0, 5)


def test_without_postgres_nothing_is_dialled(own_world):
    world = own_world
    company, number = world.company()
    world.stack.postgres.shut(world.stack.database)
    assert place(world, company, number)[0] == 503
    assert world.vapi.calls == {}
    wait_until(lambda: world.client.balance(company).held_micros == 0, 5)
    world.stack.postgres.open(world.stack.database)


@pytest.mark.parametrize("change, why", [
    ({"request_id": "x"}, "request_id"), ({"company_id": "x"}, "company_id"),
    ({"customer_number": "12"}, "customer_number"), ({"phone_number_id": "pn-of-nobody"}, "phone_number_id"),
    ({"company_id": str(uuid.uuid4())}, "phone_number_id")])
def test_what_is_malformed_is_refused_by_name(world, change, why):
    company, number = world.company()
    body = {"company_id": company, "phone_number_id": number, "customer_number": LANDLINE,
            "request_id": str(uuid.uuid4()), **change}
    status, answer = world.edge.api("/api/calls", body)
    assert status == 400 and answer["error"].startswith(why), answer


def test_only_with_the_token(world, make_world):
    company, number = world.company()
    for path in ("/api/calls", "/api/web-tokens"):
        assert world.edge.api(path, {}, token="wrong")[0] == 401
        assert world.edge.request("POST", path, b"{}")[0] == 401


def test_a_web_call_token_is_given_after_the_gate_was_asked(world):
    company, _ = world.company()
    body = {"company_id": company, "assistant_id": "assistant-1", "origin": "https://app.example"}
    status, answer = world.edge.api("/api/web-tokens", body)
    assert (status, answer["outcome"]) == (200, "allowed"), answer
    head, claims, signature = answer["token"].split(".")
    right = base64.urlsafe_b64encode(hmac.new(b"stand-in-key", f"{head}.{claims}".encode(),
                                              hashlib.sha256).digest()).rstrip(b"=").decode()
    told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert signature == right and 0 < told["exp"] - time.time() <= 60
    assert told["token"] == {"tag": "public", "restrictions": {
        "enabled": True, "allowedOrigins": ["https://app.example"], "allowedAssistantIds": ["assistant-1"],
        "allowTransientAssistant": False}}
    empty, _ = world.company(0, assistant_id="assistant-2", number="+15550100300")
    assert world.edge.api("/api/web-tokens", {**body, "company_id": empty, "assistant_id": "assistant-2"}) == (
        200, {"outcome": "denied_insufficient_funds"})
    assert world.edge.api("/api/web-tokens", {**body, "assistant_id": "assistant-2"})[0] == 400, "another's"
    assert world.edge.api("/api/web-tokens", {**body, "origin": "http://app.example"})[0] == 400


def test_a_web_call_is_metered_and_charged_by_its_assistant(world):
    """Whatever a browser claims in its metadata."""
    company, _ = world.company()
    other = world.client.funded(5_000_000)
    call = world.vapi.create({"assistantId": "assistant-1", "assistantOverrides": {
        "metadata": {"company_id": other}}}, kind="webCall")
    wait_until(lambda: [c for c in world.client.live_calls(company) if c.call_id == call.id], 10)
    world.vapi.hang_up(call.id, talk_ms=60_000)
    world.wait_until_charged(call.id)
    assert len(world.usage(company)) == 1 and world.usage(other) == []


def test_a_campaigns_contact_is_dialled_only_with_funds(own_world):
    """campaign.predial: anything but eligible is not dialled."""
    world = own_world
    company, number = world.company()
    poor, poor_number = world.company(0, number="+15550100300")

    def ask(number_id, customer=LANDLINE):
        return world.edge.webhook({"message": {"type": "campaign.predial", "phoneNumber": {"id": number_id},
                                               "customer": {"number": customer}}})
    assert ask(number) == (200, {"eligible": True})
    assert ask(poor_number) == (200, {"eligible": False})
    assert ask("pn-of-nobody") == (200, {"eligible": False})
    assert ask(number, "sip:x") == (200, {"eligible": False})
    assert world.client.balance(company).held_micros == 0
    world.stack.sidecar.kill()
    assert ask(number) == (200, {"eligible": False})
