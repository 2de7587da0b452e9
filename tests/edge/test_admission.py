"""assistant-request: who is let in, for how long, and what those hear who are not.

SPDX-License-Identifier: Apache-2.0
"""

import http.server
import json
import threading

import pytest

from support.contract import pb
from support.waiting import wait_until


class Upstream:
    """A company's own webhook handler."""

    def __init__(self, answer=None, status=200):
        self.answer, self.status, self.got = answer, status, []
        self.hold = threading.Event()
        self.hold.set()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):  # noqa: N802
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                upstream.got.append((json.loads(raw)["message"]["type"], dict(self.headers), raw))
                upstream.hold.wait(20)
                said = upstream.answer if isinstance(upstream.answer, bytes) else json.dumps(
                    upstream.answer).encode()
                self.send_response(upstream.status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/vapi"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def kinds(self):
        return [kind for kind, _, _ in self.got]

    def close(self):
        self.hold.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def upstream():
    found = Upstream({"assistant": {"model": {"provider": "openai", "temperature": 0.7}},
                      "assistantOverrides": {"maxDurationSeconds": 43200, "metadata": {"own": [1, 2.50]},
                                             "variableValues": {"name": "Ada"}}})
    yield found
    found.close()


def refused(world, number):
    call = world.vapi.dial_in(number)
    status, answer = call.answer
    assert (status, call.ended_reason) == (200, "assistant-request-returned-error"), call.answer
    assert set(answer) == {"error"}
    return answer["error"], call


def test_without_funds_the_caller_hears_a_sentence_and_nothing_is_held(world):
    company, number = world.company(0)
    sentence, call = refused(world, number)
    assert sentence == "This line is temporarily unavailable. Please try again later."
    assert world.client.balance(company).held_micros == 0
    assert world.client.fails("get_call", company, call.id).reason == pb.ERROR_REASON_UNKNOWN_CALL


def test_a_call_that_could_not_last_is_refused_and_charged_nothing(make_world):
    world = make_world(least_seconds=30)
    # Admitted by the gate with 60 s reserved by the plan, of which the edge needs more than it grants.
    world.stack.add_plan("short", default_reserve_ms=1000)
    company = world.client.funded(30_000, plan_id="short")
    number = world.add_number(company)
    sentence, call = refused(world, number)
    assert "unavailable" in sentence
    wait_until(lambda: world.client.balance(company).active_calls == 0, 5)
    assert world.client.balance(company).posted_micros == 30_000


def test_refusals_are_told_apart_and_can_be_worded_per_company_and_language(world):
    company, number = world.company(50_000_000, language="fr")
    world.client.update_wallet(company, frozen=True)
    wait_until(lambda: "temporarily" in refused(world, number)[0], 5)
    world.stack.sql("insert into callgate.edge_sentences (company_id, language, situation, sentence) values"
                    " (null, null, 'suspended', 'For all.'), (null, 'fr', 'suspended', 'Pour tous.'),"
                    " (%s, null, 'suspended', 'Theirs.')", [company])
    world.settle_in()
    assert refused(world, number)[0] == "Theirs."
    world.stack.sql("insert into callgate.edge_sentences (company_id, language, situation, sentence)"
                    " values (%s, 'fr', 'suspended', 'Désolé, « Acme » est suspendu.')", [company])
    world.settle_in()
    assert refused(world, number)[0] == "Désolé, « Acme » est suspendu."
    world.stack.sql("delete from callgate.edge_sentences where company_id is not null")
    world.settle_in()
    assert refused(world, number)[0] == "Pour tous."


def test_all_lines_are_busy_is_another_sentence(world):
    world.stack.add_plan("one", calls_max=1)
    company = world.client.funded(5_000_000, plan_id="one")
    number = world.add_number(company)
    assert world.vapi.dial_in(number).status == "in-progress"
    assert "busy" in refused(world, number)[0]


def test_refused_calls_may_be_transferred_instead(world):
    _, number = world.company(0, transfer_to="+15550100999")
    call = world.vapi.dial_in(number)
    assert call.answer[1]["destination"]["number"] == "+15550100999"
    assert call.ended_reason == "assistant-forwarded-call"


def test_nobodys_number_is_not_in_service(world):
    world.vapi.add_phone_number("pn-of-nobody", "+15550109999")
    assert refused(world, "pn-of-nobody")[0] == "This number is not in service."
    assert world.edge.count("calls_unmatched") == 1


def test_the_company_is_found_by_the_number_where_the_id_is_new(world):
    """vendors.md D8, D9: assistantId is null, and shapes vary; only the number can say whose it is."""
    company, number = world.company()
    body = {"message": {"type": "assistant-request", "call": {"id": "c-by-number", "assistantId": None},
                        "phoneNumber": {"id": "pn-changed", "number": "+15550100200"}}}
    status, answer = world.edge.webhook(body)
    assert status == 200 and answer["assistantId"] == "assistant-1", answer
    assert world.client.get_call(company, "c-by-number").state == pb.CALL_STATE_METERING


def test_the_same_request_again_is_the_same_call(world):
    """vendors.md D4: the same call id comes in several messages."""
    company, number = world.company()
    call = world.vapi.dial_in(number)
    again = world.edge.webhook(call.message("assistant-request"))
    assert again[0] == 200 and again[1]["assistantId"] == "assistant-1"
    assert world.client.balance(company).active_calls == 1


def test_thirty_calls_at_once_on_a_wallet_that_pays_for_few(world):
    world.stack.add_plan("many", calls_max=100)
    company = world.client.funded(150_000, plan_id="many")
    number = world.add_number(company)
    calls = []
    threads = [threading.Thread(target=lambda: calls.append(world.vapi.dial_in(number))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    let_in = [call for call in calls if call.answer[1].get("assistantId")]
    balance = world.client.balance(company)
    assert 0 < len(let_in) < 30 and balance.active_calls == len(let_in)
    assert balance.available_micros >= 0


def test_an_upstream_handler_answers_with_the_grant_put_in(world, upstream):
    company = world.client.funded(5_000_000)
    number = world.add_number(company, upstream_url=upstream.url)
    call = world.vapi.dial_in(number)
    answer = call.answer[1]
    assert answer["assistant"] == {"model": {"provider": "openai", "temperature": 0.7}}
    overrides = answer["assistantOverrides"]
    granted_ms = world.granted_ms(call.id)
    assert overrides["maxDurationSeconds"] == (granted_ms - 2000) // 1000 < 43200
    assert overrides["metadata"] == {"own": [1, 2.5], "company_id": company, "reservation_id": call.id}
    assert overrides["variableValues"] == {"name": "Ada"}
    # The very bytes, with what they are signed by: the handler may check them as before.
    _, headers, raw = upstream.got[0]
    assert headers["x-signature"] and json.loads(raw)["message"]["call"]["id"] == call.id


def test_an_upstream_limit_that_is_lower_stays(world, upstream):
    upstream.answer = {"assistantId": "a", "assistantOverrides": {"maxDurationSeconds": 60}}
    number = world.add_number(world.client.funded(5_000_000), upstream_url=upstream.url)
    assert world.vapi.dial_in(number).answer[1]["assistantOverrides"]["maxDurationSeconds"] == 60


@pytest.mark.parametrize("answer, status", [
    ({"error": "Closed on Sundays."}, 200), ({}, 200), (b"<html>", 200), ({"assistantId": "a"}, 500),
    ({"squadId": "s"}, 200), ({"destination": {"type": "number", "number": "+15550100999"}}, 200),
    (b'{"assistantId":"a","assistantOverride\\u0073":{"maxDurationSeconds":43200}}', 200)])
def test_an_upstream_that_lets_nobody_in_costs_nothing(world, upstream, answer, status):
    upstream.answer, upstream.status = answer, status
    company = world.client.funded(5_000_000)
    number = world.add_number(company, upstream_url=upstream.url)
    sentence, call = refused(world, number)
    assert sentence == (answer["error"] if answer == {"error": "Closed on Sundays."} else
                        "We cannot take your call right now. Please try again in a minute.")
    wait_until(lambda: world.client.balance(company).active_calls == 0, 5)
    assert world.client.balance(company).posted_micros == 5_000_000


def test_an_upstream_that_does_not_answer_is_not_waited_for(make_world, upstream):
    world = make_world(hard_stop_ms=600, gate_ms=400)
    upstream.hold.clear()
    number = world.add_number(world.client.funded(5_000_000), upstream_url=upstream.url)
    sentence, _ = refused(world, number)
    assert sentence.startswith("We cannot take your call")


def test_an_upstream_outside_the_list_is_never_asked(make_world, upstream):
    world = make_world(upstream_hosts=".example.com")
    number = world.add_number(world.client.funded(5_000_000), upstream_url=upstream.url)
    refused(world, number)
    assert upstream.got == []


def test_an_upstream_answers_tool_calls_and_hears_of_the_rest(world, upstream):
    number = world.add_number(world.client.funded(5_000_000), upstream_url=upstream.url)
    call = world.vapi.dial_in(number)
    wait_until(lambda: "status-update" in upstream.kinds(), 5)
    upstream.answer = {"results": [{"toolCallId": "t", "result": "42"}]}
    asked = world.vapi.ask(call.message("tool-calls", toolCallList=[{"id": "t"}]))
    assert asked[0] == 200 and json.loads(asked[1]) == upstream.answer
    assert world.vapi.ask(call.message("conversation-update"))[0] == 200
    wait_until(lambda: "conversation-update" in upstream.kinds(), 5)


def test_transfers_are_refused_unless_allowed(world, upstream):
    """vendors.md D7: how long a forwarded leg talks is reported by nobody."""
    number = world.add_number(world.client.funded(5_000_000), upstream_url=upstream.url)
    call = world.vapi.dial_in(number)
    status, said = world.vapi.ask(call.message("transfer-destination-request"))
    assert status == 200 and json.loads(said) == {"error": "I am sorry, I cannot transfer this call."}
    assert "transfer-destination-request" not in upstream.kinds()


def test_while_the_gate_is_away_calls_are_refused(own_world):
    """vendors.md D9: it fails closed, with HTTP 200."""
    world = own_world
    company, number = world.company()
    world.stack.sidecar.kill()
    sentence, _ = refused(world, number)
    assert sentence == "We cannot take your call right now. Please try again in a minute."
    world.stack.sidecar.start()
    wait_until(lambda: world.vapi.dial_in(number).status == "in-progress", 20, every=0.2)
    assert company


def test_while_the_gate_is_away_a_number_may_be_let_in_for_a_while_and_is_charged_late(own_world):
    world = own_world
    company, number = world.company(outage_seconds=60)
    world.stack.sidecar.kill()
    call = world.vapi.dial_in(number)
    assert call.answer[1]["assistantOverrides"]["maxDurationSeconds"] == 60
    assert world.edge.count("calls_degraded") == 1
    world.vapi.hang_up(call.id, talk_ms=30_000)
    world.stack.sidecar.start()
    world.wait_until_charged(call.id, 40)
    # 30 s at 0.08 a minute.
    assert [cost for cost, _ in world.usage(company)] == [40_000]
    assert world.client.get_call(company, call.id).state == pb.CALL_STATE_SETTLED


def test_postgres_away_calls_are_let_in_and_charged_later(own_world):
    world = own_world
    company, number = world.company()
    first = world.vapi.dial_in(number)
    assert first.status == "in-progress"
    world.vapi.hang_up(first.id, talk_ms=10_000)
    world.wait_until_charged(first.id)
    world.stack.postgres.shut(world.stack.database)
    call = world.vapi.dial_in(number)
    assert call.status == "in-progress", call.answer
    world.vapi.hang_up(call.id, talk_ms=61_001)
    wait_until(lambda: [d for d in call.deliveries if d[1] == 503], 10)
    world.stack.postgres.open(world.stack.database)
    world.stack.connection.close()
    world.wait_until_charged(call.id, 40)
    assert sorted(cost for cost, _ in world.usage(company)) == [13_334, 82_667]
