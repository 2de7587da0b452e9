"""The operator's day against a real stack: sidecar, Redis, Postgres.

SPDX-License-Identifier: Apache-2.0
"""

import json
import re
import time
import uuid

import pytest

from cli_support import DONE, NOT_FOUND, REFUSED, Live, Run
from support.contract import pb
from support.waiting import wait_until

VOICE = ["--resource", "voice_outbound", "--destination", "+14155550100"]


@pytest.fixture
def cli(request, shared_stack):
    """The command on the module's stack, with a company that nobody else has."""
    request.node.stacks = [shared_stack]

    class Cli:
        stack = shared_stack
        company = str(uuid.uuid4())

        def run(self, *line, of=True):
            words = [*line, "--company", self.company] if of else line
            return Run(words, shared_stack.environment())

        def done(self, *line, of=True):
            told = self.run(*line, "--json", of=of)
            assert told.code == DONE and told.err == "", told
            return told.json

        def watch(self, *line):
            """Answers once the stream is there."""
            live = Live(["watch", "--company", self.company, "--json", "--heartbeats", *line],
                        shared_stack.environment())
            assert json.loads(live.line())["event"] is None
            return live

        def funded(self, micros, *flags):
            self.done("wallet", "create", *flags)
            return self.done("credit", "--amount-micros", micros, "--type", "top_up",
                             "--reference", f"pay-{self.company}")

    return Cli()


def test_the_demo_tells_one_gated_call(cli):
    told = cli.run("demo", of=False)
    assert told.code == DONE and told.err == "", told
    assert [line[:2] for line in told.lines() if re.match(r"\d\.", line)] == [
        "1.", "2.", "3.", "4.", "5.", "6."]
    assert max(map(len, told.lines())) <= 100, told
    assert "DECISION_ALLOWED" in told.out
    assert "wallet_transactions: usage" in told.out and "usage_logs: voice_outbound" in told.out

    company, call = re.search(r"explain --company (\S+) (\S+)", told.out).groups()
    rows = cli.stack.sql("select callgate.to_micros(t.amount, w.currency) from wallet_transactions"
                         " t join wallets w on w.id = t.wallet_id where w.company_id = %s"
                         " and t.reference_id = %s", [company, call])
    assert len(rows) == 1 and rows[0][0] < 0


def test_the_demo_in_json_has_every_step(cli):
    told = cli.done("demo", of=False)
    assert told["authorize"]["decision"] == "DECISION_ALLOWED"
    available = [look["available_micros"] for look in told["balances"]]
    assert len(available) >= 3 and available == sorted(available, reverse=True)
    assert available[0] > available[-1]
    assert told["settle"]["ledger_id"] == told["ledger"][0]["entry_id"]
    assert told["ledger"][0]["amount_micros"] == -told["settle"]["cost_micros"] < 0
    assert told["ledger"][0]["usage_log"]["cost_micros"] == told["settle"]["cost_micros"]


def test_a_wallet_from_creation_to_freezing(cli):
    assert cli.run("wallet", "show").code == NOT_FOUND
    assert cli.run("balance").code == NOT_FOUND
    made = cli.done("wallet", "create", "--currency", "ngn", "--plan", "growth")
    assert made["replayed"] is False and made["wallet"]["currency"] == "ngn"
    assert cli.done("wallet", "create", "--currency", "ngn")["replayed"] is True
    assert cli.run("wallet", "create", "--currency", "usd").code == REFUSED
    assert cli.done("wallet", "freeze")["wallet"]["frozen"] is True
    denied = cli.run("authorize", "c1", *VOICE, "--json")
    assert denied.code == REFUSED and denied.json["decision"] == "DECISION_DENIED_SUSPENDED"
    assert cli.done("wallet", "unfreeze")["wallet"]["frozen"] is False
    assert cli.done("wallet", "plan", "scale")["wallet"]["plan_id"] == "scale"
    assert cli.done("wallet", "threshold", "--low-balance-micros", "5")["wallet"][
        "low_balance_micros"] == 5
    shown = cli.done("wallet", "show")["wallet"]
    assert (shown["plan_id"], shown["low_balance_micros"]) == ("scale", 5)


def test_money_counts_once(cli):
    first = cli.funded(1_500_000)
    assert first["balance_micros"] == 1_500_000 and first["replayed"] is False
    again = cli.done("credit", "--amount-micros", 1_500_000, "--type", "top_up", "--reference",
                     f"pay-{cli.company}")
    assert again["replayed"] is True and again["balance_micros"] == 1_500_000
    other = cli.run("credit", "--amount-micros", 1, "--type", "top_up", "--reference",
                    f"pay-{cli.company}", "--json")
    assert other.code == REFUSED and other.error["reason"] == "ERROR_REASON_KEY_REUSED"
    charged = cli.done("charge", "--resource", "phone_number_rental", "--amount-micros", 500_000,
                       "--reference", "rent-1", "--meta", "number=+14155550100")
    assert charged["balance_micros"] == 1_000_000
    assert cli.stack.ledger_balance(cli.company) == 1_000_000  # COMMITTED was answered
    assert cli.run("balance").lines()[3].split() == [
        "posted", "1.000000", "USD", "1000000", "micros"]


def test_a_call_by_hand_and_its_explanation(cli):
    cli.funded(1_000_000)
    tried = cli.done("authorize", "c1", *VOICE, "--validate-only")
    assert tried["state"] == "CALL_STATE_UNSPECIFIED"
    held = cli.done("authorize", "c1", *VOICE, "--meta", "city=Lagos")
    assert held["decision"] == "DECISION_ALLOWED" and held["held_micros"] > 0
    explained = cli.run("explain", "c1")
    assert explained.code == DONE and "is authorized" in explained.out
    assert "is held" in explained.out and "It has no row" in explained.out

    cli.done("start", "c1")
    listed = cli.done("calls")["calls"]
    assert [(call["call_id"], call["state"]) for call in listed] == [("c1", "CALL_STATE_METERING")]
    assert listed[0]["meta"] == {"city": "Lagos"}
    table = cli.run("calls")
    assert len(table.lines()) == 2 and max(map(len, table.lines())) <= 100
    cli.done("stop", "c1")
    settled = cli.done("settle", "c1", "--duration-ms", 61_001)
    assert settled["cost_micros"] == 103_334 and settled["billed_ms"] == 62_000
    assert cli.done("settle", "c1", "--duration-ms", 61_001)["replayed"] is True
    other = cli.run("settle", "c1", "--duration-ms", 5, "--json")
    assert other.code == REFUSED and other.error["settled"]["cost_micros"] == 103_334

    told = cli.done("explain", "c1")
    assert told["call"]["cost_micros"] == told["computed_cost_micros"] == 103_334
    entry, = told["ledger"]
    assert entry["amount_micros"] == -103_334 and entry["type"] == "usage"
    assert entry["usage_log"]["resource_type"] == "voice_outbound"
    assert "    = 0 + ceil(100000 * 62000 / 60000)" in told["explanation"]
    people = cli.run("explain", "c1")
    assert people.lines() == told["explanation"]
    assert max(map(len, people.lines())) <= 100, people
    assert cli.run("explain", "never-heard-of").code == NOT_FOUND


def test_cancel_and_adopt(cli):
    cli.funded(1_000_000)
    held = cli.done("authorize", "c1", *VOICE)
    assert cli.done("cancel", "c1")["released_micros"] == held["held_micros"]
    denied = cli.run("authorize", "c1", *VOICE, "--json")
    assert denied.code == REFUSED and denied.json["decision"] == "DECISION_DENIED_BARRED"
    assert "is cancelled" in cli.run("explain", "c1").out
    adopted = cli.done("adopt", "c2", *VOICE, "--started-at-ms", int(time.time() * 1000) - 30_000)
    assert adopted["state"] == "CALL_STATE_METERING"
    assert cli.run("cancel", "c2").code == REFUSED
    assert cli.done("settle", "c2", "--as-metered")["duration_ms"] >= 30_000
    assert cli.run("explain", "c2").code == DONE


def test_a_plan_and_a_rate_are_in_force_within_a_second(cli, tmp_path):
    rates = tmp_path / "rates.csv"
    rates.write_text(
        "plan_id,currency,resource_type,prefix,rate_micros_per_minute,connect_fee_micros,"
        "minimum_ms,increment_ms\ncli_e2e,usd,voice_outbound,,100000,20000,60000,6000\n")
    assert cli.run("plan", "set", "cli_e2e", "--create", of=False).code == DONE
    assert cli.run("rate", "import", rates, of=False).code == DONE
    wait_until(lambda: cli.run("wallet", "create", "--plan", "cli_e2e").code == DONE, 2)
    cli.done("credit", "--amount-micros", 1_000_000, "--type", "bonus", "--reference", "b")

    def price():
        answer = cli.run("authorize", "c1", *VOICE, "--validate-only", "--json").json
        return answer["price"] and answer["price"]["rate_micros_per_minute"]

    wait_until(lambda: price() == 100_000, 2)
    rates.write_text(rates.read_text().replace("100000", "200000"))
    assert cli.run("rate", "import", rates, of=False).code == DONE
    wait_until(lambda: price() == 200_000, 1.5, "the new rate is in force")
    assert cli.run("plan", "set", "cli_e2e", "--calls-max", "0", of=False).code == DONE
    wait_until(lambda: cli.run("authorize", "c1", *VOICE, "--validate-only").code == REFUSED, 1.5,
               "the new limit is in force")


def test_the_contract_refuses_what_the_command_lets_pass(cli):
    cli.funded(1_000_000)
    told = cli.run("authorize", "c1", *VOICE, *[part for n in range(20) for part in (
        "--meta", f"key{n}={'v' * 300}")], "--json")
    assert told.code == 2 and told.error["reason"] == "ERROR_REASON_INVALID_FIELD", told
    assert told.error["bound"]
    told = cli.run("wallet", "plan", "no_such_plan", "--json")
    assert told.code in (2, NOT_FOUND, REFUSED) and told.out == "", told


def events_of(live, until):
    """What comes up to the first event of the type `until`; the last token."""
    found, token = [], ""
    while not found or found[-1]["type"] != f"EVENT_TYPE_{until}":
        message = json.loads(live.line())
        token = message["resume_token"] or token
        if message["event"] is not None:
            found.append(message["event"])
    return found, token


def test_a_watch_tells_the_end_of_a_wallet(cli):
    cli.done("wallet", "create")
    live = cli.watch()
    cli.done("credit", "--amount-micros", 120_000, "--type", "top_up", "--reference",
             f"pay-{cli.company}")
    cli.done("authorize", "c1", *VOICE, "--reserve-ms", 1000, "--start", "--meta", "city=Lagos")
    cli.done("adopt", "c2", *VOICE, "--started-at-ms", int(time.time() * 1000) - 69_000)
    told, _ = events_of(live, "CUT_OFF")
    types = [event["type"][len("EVENT_TYPE_"):] for event in told]
    assert types[0] == "CREDITED" and "CALL_ADOPTED" in types and types[-1] == "CUT_OFF"
    assert told[0]["amount_micros"] == 120_000 and told[0]["reference_id"] == f"pay-{cli.company}"
    assert told[-1]["call_id"] in ("c1", "c2") and told[-1]["repeat"] == 0
    for call in ("c1", "c2"):
        cli.done("settle", call, "--as-metered")
    settled, _ = events_of(live, "CALL_SETTLED")
    assert settled[-1]["ledger_id"] != "" and settled[-1]["basis"] == "DURATION_BASIS_METERED"
    code, error = live.interrupt()
    assert code == DONE and json.loads(error)["resume_token"] != ""


def test_a_watch_is_resumed_where_it_ended(cli):
    cli.funded(1_000_000)
    live = cli.watch("--type", "CHARGED")
    rent = ["charge", "--resource", "phone_number_rental", "--amount-micros", 1, "--reference"]
    cli.done(*rent, "r1")
    told, _ = events_of(live, "CHARGED")
    assert [event["reference_id"] for event in told] == ["r1"]
    code, error = live.interrupt()
    assert code == DONE
    cli.done(*rent, "r2")
    cli.done(*rent, "r3")
    again = cli.run("watch", "--type", "CHARGED", "--count", 2, "--json", "--resume",
                    json.loads(error)["resume_token"], "--for", 30)
    assert again.code == DONE, again
    assert [json.loads(line)["event"]["reference_id"] for line in again.lines()] == ["r2", "r3"]


def test_a_watch_outlives_its_sidecar(cli):
    cli.funded(1_000_000)
    live = cli.watch("--type", "CHARGED")
    rent = ["charge", "--resource", "phone_number_rental", "--amount-micros", 1, "--reference"]
    cli.done(*rent, "r1")
    events_of(live, "CHARGED")
    cli.stack.sidecar.restart()
    cli.done(*rent, "r2")
    told, _ = events_of(live, "CHARGED")
    assert told[-1]["reference_id"] == "r2"
    assert live.interrupt()[0] == DONE


def test_a_token_that_makes_no_sense_is_refused(cli):
    told = cli.run("watch", "--resume", "nonsense", "--json")
    assert told.code in (REFUSED, 2) and told.out == "", told


def test_enums_are_the_contracts(cli):
    """What --json calls a state is what the contract calls it."""
    cli.funded(1_000_000)
    assert cli.done("authorize", "c1", *VOICE)["state"] in pb.CallState.keys()
