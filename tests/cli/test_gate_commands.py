"""The commands against a scripted gate: what they ask, what they print, how they end.

SPDX-License-Identifier: Apache-2.0
"""

import time

import grpc
import pytest

from cli_support import (COMPANY, DONE, FORBIDDEN, INCOMPATIBLE, NOT_FOUND, REFUSED, UNAVAILABLE,
                         USAGE)
from support.contract import pb

OF = ["--company", COMPANY]
PRICE = pb.Price(rate_micros_per_minute=100_000, connect_fee_micros=20_000, minimum_ms=60_000,
                 increment_ms=6_000, currency="usd")
WALLET = pb.Wallet(company_id=COMPANY, wallet_id="w", currency="usd", plan_id="starter",
                   low_balance_micros=5)
CALL = pb.Call(call_id="c1", state=pb.CALL_STATE_SETTLED, price=PRICE,
               resource_type="voice_outbound", authorized_at_ms=1_795_343_564_758,
               started_at_ms=1_795_343_565_000, meta={"city": "Lagos"}, company_id=COMPANY,
               destination="+14155550100", ended_at_ms=1_795_343_572_000, cost_micros=120_000,
               billed_ms=60_000, duration_ms=7_000, basis=pb.DURATION_BASIS_REPORTED,
               ledger_id="3-1-17")

# command line -> method, the request it must make, its answer
TABLE = [
    (["balance", *OF], "GetBalance", pb.GetBalanceRequest(company_id=COMPANY),
     pb.GetBalanceResponse(company_id=COMPANY, currency="usd", plan_id="starter",
                           posted_micros=1_500_000, available_micros=-9_000_000_000_000_000,
                           burn_micros_per_minute=90_000, active_calls=1, as_of_ms=1)),
    (["credit", *OF, "--amount-micros", "1500000", "--type", "top_up", "--reference", "r1"],
     "Credit", pb.CreditRequest(company_id=COMPANY, amount_micros=1_500_000,
                                type=pb.ENTRY_TYPE_TOP_UP, reference_id="r1",
                                durability=pb.DURABILITY_COMMITTED),
     pb.CreditResponse(balance_micros=1_500_000, available_micros=1, ledger_id="3-1-1")),
    (["credit", *OF, "--amount-micros", "-5", "--type", "adjustment", "--reference", "r1",
      "--description", "why", "--durability", "accepted"],
     "Credit", pb.CreditRequest(company_id=COMPANY, amount_micros=-5,
                                type=pb.ENTRY_TYPE_ADJUSTMENT, reference_id="r1",
                                description="why", durability=pb.DURABILITY_ACCEPTED),
     pb.CreditResponse(replayed=True)),
    (["credit", *OF, "--amount-micros", "5", "--type", "monthly_grant", "--reference", "r1"],
     "Credit", pb.CreditRequest(company_id=COMPANY, amount_micros=5,
                                type=pb.ENTRY_TYPE_MONTHLY_GRANT, reference_id="r1",
                                durability=pb.DURABILITY_COMMITTED), pb.CreditResponse()),
    (["charge", *OF, "--resource", "phone_number_rental", "--amount-micros", "7", "--reference",
      "r1", "--quantity", "3", "--meta", "a=b=c", "--meta", "x="],
     "Charge", pb.ChargeRequest(company_id=COMPANY, resource_type="phone_number_rental",
                                amount_micros=7, quantity=3, reference_id="r1",
                                meta={"a": "b=c", "x": ""}, durability=pb.DURABILITY_COMMITTED),
     pb.ChargeResponse(balance_micros=-7)),
    (["authorize", *OF, "c1", "--resource", "voice_outbound", "--destination", "+14155550100",
      "--reserve-ms", "30000", "--start", "--meta", "city=Lagos"],
     "Authorize", pb.AuthorizeRequest(company_id=COMPANY, call_id="c1",
                                      resource_type="voice_outbound", destination="+14155550100",
                                      reserve_ms=30_000, start=True, meta={"city": "Lagos"}),
     pb.AuthorizeResponse(decision=pb.DECISION_ALLOWED, state=pb.CALL_STATE_METERING, price=PRICE,
                          held_micros=5)),
    (["authorize", "--resource", "voice_inbound", "--validate-only", "c1", *OF],
     "Authorize", pb.AuthorizeRequest(company_id=COMPANY, call_id="c1",
                                      resource_type="voice_inbound", validate_only=True),
     pb.AuthorizeResponse(decision=pb.DECISION_ALLOWED,
                          shadow_decision=pb.DECISION_DENIED_BARRED)),
    (["start", *OF, "c1", "--started-at-ms", "123"], "Start",
     pb.StartRequest(company_id=COMPANY, call_id="c1", started_at_ms=123),
     pb.StartResponse(decision=pb.DECISION_ALLOWED, state=pb.CALL_STATE_METERING)),
    (["stop", *OF, "c1", "--ended-at-ms", "123"], "Stop",
     pb.StopRequest(company_id=COMPANY, call_id="c1", ended_at_ms=123),
     pb.StopResponse(state=pb.CALL_STATE_STOPPED, metered_ms=61_001)),
    (["settle", *OF, "c1", "--duration-ms", "0", "--durability", "accepted"], "Settle",
     pb.SettleRequest(company_id=COMPANY, call_id="c1", duration_ms=0,
                      durability=pb.DURABILITY_ACCEPTED, basis=pb.DURATION_BASIS_REPORTED),
     pb.SettleResponse(state=pb.CALL_STATE_SETTLED, price=PRICE, basis=pb.DURATION_BASIS_REPORTED)),
    (["settle", *OF, "c1", "--as-metered", "--ended-at-ms", "9", "--started-at-ms", "5",
      "--resource", "voice_inbound", "--destination", "+1415", "--basis", "polled", "--meta",
      "k=v"], "Settle",
     pb.SettleRequest(company_id=COMPANY, call_id="c1", as_metered=True, ended_at_ms=9,
                      started_at_ms=5, resource_type="voice_inbound", destination="+1415",
                      basis=pb.DURATION_BASIS_POLLED, meta={"k": "v"},
                      durability=pb.DURABILITY_COMMITTED),
     pb.SettleResponse(late=True)),
    (["cancel", *OF, "c1"], "Cancel", pb.CancelRequest(company_id=COMPANY, call_id="c1"),
     pb.CancelResponse(state=pb.CALL_STATE_CANCELLED, released_micros=5)),
    (["adopt", *OF, "c1", "--resource", "voice_inbound", "--started-at-ms", "5"], "Adopt",
     pb.AdoptRequest(company_id=COMPANY, call_id="c1", resource_type="voice_inbound",
                     started_at_ms=5),
     pb.AdoptResponse(state=pb.CALL_STATE_METERING, price=PRICE)),
    (["wallet", "create", *OF, "--currency", "ngn", "--plan", "growth"], "CreateWallet",
     pb.CreateWalletRequest(company_id=COMPANY, currency="ngn", plan_id="growth"),
     pb.CreateWalletResponse(wallet=WALLET)),
    (["wallet", "create", *OF], "CreateWallet", pb.CreateWalletRequest(company_id=COMPANY),
     pb.CreateWalletResponse(wallet=WALLET, replayed=True)),
    (["wallet", "show", *OF], "GetWallet", pb.GetWalletRequest(company_id=COMPANY),
     pb.GetWalletResponse(wallet=WALLET)),
    (["wallet", "freeze", *OF], "UpdateWallet",
     pb.UpdateWalletRequest(company_id=COMPANY, frozen=True),
     pb.UpdateWalletResponse(wallet=WALLET)),
    (["wallet", "unfreeze", *OF], "UpdateWallet",
     pb.UpdateWalletRequest(company_id=COMPANY, frozen=False),
     pb.UpdateWalletResponse(wallet=WALLET)),
    (["wallet", "plan", *OF, "growth"], "UpdateWallet",
     pb.UpdateWalletRequest(company_id=COMPANY, plan_id="growth"),
     pb.UpdateWalletResponse(wallet=WALLET)),
    (["wallet", "threshold", *OF, "--low-balance-micros", "0"], "UpdateWallet",
     pb.UpdateWalletRequest(company_id=COMPANY, low_balance_micros=0),
     pb.UpdateWalletResponse(wallet=WALLET)),
    (["wallet", "threshold", *OF, "--low-balance-remaining-ms", "60000"], "UpdateWallet",
     pb.UpdateWalletRequest(company_id=COMPANY, low_balance_remaining_ms=60_000),
     pb.UpdateWalletResponse(wallet=WALLET)),
    (["calls", *OF, "--page-size", "2", "--page-token", "t"], "ListCalls",
     pb.ListCallsRequest(company_id=COMPANY, page_size=2, page_token="t"),
     pb.ListCallsResponse(calls=[CALL, CALL], next_page_token="t2")),
    (["calls"], "ListCalls", pb.ListCallsRequest(), pb.ListCallsResponse()),
]


def as_contract(message):
    """A message as --json must show it: every field, in the contract's order and names."""
    def value_of(field, value):
        if field.enum_type is not None:
            return field.enum_type.values_by_number[value].name
        return as_contract(value) if field.message_type is not None else value

    shown = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            shown[field.name] = dict(value)
        elif field.label == field.LABEL_REPEATED:
            shown[field.name] = [value_of(field, item) for item in value]
        elif (field.message_type is not None or field.containing_oneof is not None) \
                and not message.HasField(field.name):
            shown[field.name] = None
        else:
            shown[field.name] = value_of(field, value)
    return shown


@pytest.mark.parametrize("line, method, request_, answer", TABLE,
                         ids=[" ".join(row[0])[:60] for row in TABLE])
def test_a_command_asks_and_answers_as_the_contract_says(gate, line, method, request_, answer):
    told = gate.run(*line, "--json", **{method: answer})
    assert told.code == DONE and told.err == "", told
    assert gate.request(method) == request_
    assert [name for name, _ in gate.asked] == [method], "--json asks nothing for people"
    assert told.json == as_contract(answer)
    assert list(told.json) == [field.name for field in answer.DESCRIPTOR.fields]

    for_people = gate.run(*line, **{method: answer})
    assert for_people.code == DONE and for_people.err == "", for_people
    assert for_people.out != ""
    assert max(map(len, for_people.lines())) <= 100, for_people


@pytest.mark.parametrize("decision", [value for name, value in pb.Decision.items()
                                      if name.startswith("DECISION_DENIED_")])
def test_a_denial_is_an_answer_and_ends_1(gate, decision):
    line = ["authorize", *OF, "c1", "--resource", "voice_inbound"]
    answer = pb.AuthorizeResponse(decision=decision, required_micros=5)
    told = gate.run(*line, "--json", Authorize=answer)
    assert (told.code, told.err) == (REFUSED, "")
    assert told.json["decision"] == pb.Decision.Name(decision)
    people = gate.run(*line, Authorize=answer)
    assert people.code == REFUSED and people.out.startswith("Denied: ")

    told = gate.run("start", *OF, "c1", "--json", Start=pb.StartResponse(decision=decision))
    assert (told.code, told.json["decision"]) == (REFUSED, pb.Decision.Name(decision))


STATUSES = [
    (grpc.StatusCode.INVALID_ARGUMENT, USAGE),
    (grpc.StatusCode.NOT_FOUND, NOT_FOUND),
    (grpc.StatusCode.ALREADY_EXISTS, REFUSED),
    (grpc.StatusCode.FAILED_PRECONDITION, REFUSED),
    (grpc.StatusCode.OUT_OF_RANGE, REFUSED),
    (grpc.StatusCode.UNAUTHENTICATED, FORBIDDEN),
    (grpc.StatusCode.PERMISSION_DENIED, FORBIDDEN),
    (grpc.StatusCode.UNAVAILABLE, UNAVAILABLE),
    (grpc.StatusCode.DEADLINE_EXCEEDED, UNAVAILABLE),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, UNAVAILABLE),
    (grpc.StatusCode.UNIMPLEMENTED, INCOMPATIBLE),
    (grpc.StatusCode.INTERNAL, INCOMPATIBLE),
]


@pytest.mark.parametrize("status, code", STATUSES, ids=[row[0].name for row in STATUSES])
def test_every_status_has_its_exit_code(gate, status, code):
    told = gate.run("cancel", *OF, "c1", "--json", Cancel=(status, "because", None))
    assert (told.code, told.out) == (code, "")
    assert told.error["status"] == status.name
    assert told.error["message"].startswith("because")
    assert told.error["exit_code"] == code


def test_what_the_server_says_of_an_error_is_passed_on(gate):
    detail = pb.ErrorDetail(
        reason=pb.ERROR_REASON_KEY_REUSED, state=pb.CALL_STATE_SETTLED, retry_after_ms=250,
        settled=pb.SettleResponse(state=pb.CALL_STATE_SETTLED, cost_micros=834))
    told = gate.run("settle", *OF, "c1", "--duration-ms", "1", "--json",
                    Settle=(grpc.StatusCode.ALREADY_EXISTS, "other duration", detail))
    assert told.code == REFUSED
    assert told.error["reason"] == "ERROR_REASON_KEY_REUSED"
    assert told.error["state"] == "CALL_STATE_SETTLED"
    assert told.error["retry_after_ms"] == 250
    assert told.error["settled"]["cost_micros"] == 834

    detail = pb.ErrorDetail(reason=pb.ERROR_REASON_INVALID_FIELD, field="meta[x]", bound="less")
    told = gate.run("settle", *OF, "c1", "--duration-ms", "1", "--json",
                    Settle=(grpc.StatusCode.INVALID_ARGUMENT, "meta", detail))
    assert (told.code, told.error["field"], told.error["bound"]) == (USAGE, "meta[x]", "less")


def test_a_terminal_never_sees_control_characters(gate):
    nasty = "a\x1b[2J\x07\u009b31m\r\nb"
    told = gate.run("balance", *OF,
                    GetBalance=pb.GetBalanceResponse(company_id=nasty, plan_id=nasty))
    assert told.code == DONE
    assert "a\\x1b[2J\\x07\\x9b31m\\x0d\\x0ab" in told.out
    told = gate.run("calls", *OF, ListCalls=pb.ListCallsResponse(calls=[
        pb.Call(call_id=nasty, resource_type=nasty, destination=nasty)]))
    assert not set("\x1b\x07\r\u009b") & set(told.out)
    told = gate.run("balance", *OF, GetBalance=(grpc.StatusCode.NOT_FOUND, "\x1b[2J", None))
    assert told.code == NOT_FOUND and "\x1b" not in told.err


def test_amounts_are_exact_in_both_forms(gate):
    told = gate.run("balance", *OF, GetBalance=pb.GetBalanceResponse(
        currency="usd", posted_micros=1_500_000, held_micros=1, accrued_micros=-1,
        available_micros=-8_999_999_999_999_999))
    for text in ["1.500000 USD", "1500000 micros", "0.000001 USD", "-0.000001 USD",
                 "-8999999999.999999 USD", "-8999999999999999 micros"]:
        assert text in told.out, told


def test_a_wide_table_stays_within_100_columns(gate):
    long = pb.Call(call_id="c" * 128, state=pb.CALL_STATE_METERING, price=PRICE,
                   resource_type="voice_" + "x" * 58, company_id=COMPANY,
                   destination="+123456789012345", accrued_micros=99_999_999_999,
                   started_at_ms=int((time.time() - 604_700) * 1000))
    for line in (["calls"], ["calls", *OF]):
        told = gate.run(*line, ListCalls=pb.ListCallsResponse(calls=[long, CALL]))
        assert max(map(len, told.lines())) <= 100, told
        assert "~" in told.out and "99999.999999 USD" in told.out and "167h58m" in told.out


EXPLAINED = [
    # price: rate, fee, minimum, increment; duration, cost -> the last line of the arithmetic
    ((90_000, 0, 0, 1_000), 61_001, 93_000, "= 0 + 93000 = 93000 micros = 0.093000 USD"),
    ((90_000, 0, 0, 1_000), 1, 1_500, "= 0 + 1500 = 1500 micros = 0.001500 USD"),
    ((100_000, 20_000, 60_000, 6_000), 7_000, 120_000,
     "= 20000 + 100000 = 120000 micros = 0.120000 USD"),
    ((100_000, 0, 0, 6_000), 7_000, 20_000, "= 0 + 20000 = 20000 micros = 0.020000 USD"),
    ((50_000, 0, 0, 1_000), 1_000, 834, "= 0 + 834 = 834 micros = 0.000834 USD"),
    ((70_000, 5_000, 30_000, 30_000), 0, 0, "A call of 0 ms never connected and costs nothing."),
    ((2_600_123_457, 0, 0, 1), 15_751_779, 682_609_501_124,
     "= 0 + 682609501124 = 682609501124 micros = 682609.501124 USD"),
    ((99_999_999_999, 99_999_999_999, 3_600_000, 3_600_000), 604_800_000, 1_008_099_999_989_919,
     "= 99999999999 + 1007999999989920 = 1008099999989919 micros = 1008099999.989919 USD"),
]


@pytest.mark.parametrize("price, duration_ms, cost, last", EXPLAINED,
                         ids=[str(row[:2]) for row in EXPLAINED])
def test_explain_spells_the_price_out(gate, price, duration_ms, cost, last):
    call = pb.Call()
    call.CopyFrom(CALL)
    call.price.CopyFrom(pb.Price(rate_micros_per_minute=price[0], connect_fee_micros=price[1],
                                 minimum_ms=price[2], increment_ms=price[3], currency="usd"))
    call.duration_ms, call.cost_micros = duration_ms, cost
    told = gate.run("explain", *OF, "c1", "--json", GetCall=pb.GetCallResponse(call=call))
    assert told.code == DONE, told
    assert told.json["call"] == as_contract(call)
    assert told.json["computed_cost_micros"] == cost
    assert any(line.strip() == last for line in told.json["explanation"]), told
    assert not any("differs" in line for line in told.json["explanation"])
    assert told.json["ledger"] is None  # no database was named

    people = gate.run("explain", *OF, "c1", GetCall=pb.GetCallResponse(call=call))
    assert people.lines() == told.json["explanation"]
    assert max(map(len, people.lines())) <= 100, people


def test_explain_says_where_a_charge_differs_from_its_price(gate):
    call = pb.Call()
    call.CopyFrom(CALL)
    call.cost_micros = 119_999
    told = gate.run("explain", *OF, "c1", GetCall=pb.GetCallResponse(call=call))
    assert "The charge of 119999 micros differs from that." in told.out


def test_explain_tells_an_abandoned_call(gate):
    call = pb.Call()
    call.CopyFrom(CALL)
    call.state, call.basis = pb.CALL_STATE_ABANDONED, pb.DURATION_BASIS_ASSUMED
    told = gate.run("explain", *OF, "c1", GetCall=pb.GetCallResponse(call=call))
    assert told.out.startswith("Call c1 is abandoned: it was not settled in time"), told
    assert "assumed, since no report came" in told.out
    assert "A late settle still corrects it, once." in told.out
    told = gate.run("explain", *OF, "c1", GetCall=pb.GetCallResponse(call=CALL))
    assert "late settle" not in told.out


def test_a_correction_is_told(gate):
    line = ["settle", *OF, "c1", "--duration-ms", "5"]
    told = gate.run(*line, Settle=pb.SettleResponse(corrected_micros=-5))
    assert told.out.startswith("The call had been charged as assumed; the charge is corrected.")
    told = gate.run(*line, Settle=pb.SettleResponse(corrected_micros=-5, replayed=True))
    assert told.out.startswith("The call had been charged before; nothing was changed.")


@pytest.mark.parametrize("state", pb.CallState.values())
def test_explain_has_words_for_every_state(gate, state):
    call = pb.Call()
    call.CopyFrom(CALL)
    call.state = state
    told = gate.run("explain", *OF, "c1", GetCall=pb.GetCallResponse(call=call))
    assert told.code == DONE and told.out.startswith("Call c1 is "), told


def test_a_call_nobody_knows_ends_3(gate):
    detail = pb.ErrorDetail(reason=pb.ERROR_REASON_UNKNOWN_CALL)
    told = gate.run("explain", *OF, "c1", "--json",
                    GetCall=(grpc.StatusCode.NOT_FOUND, "no such call", detail))
    assert (told.code, told.error["reason"]) == (NOT_FOUND, "ERROR_REASON_UNKNOWN_CALL")


def test_explain_without_its_ledger_tells_the_rest_and_ends_4(gate):
    line = ["explain", *OF, "c1", "--database-url", "postgresql://x@/x?host=/nonexistent"]
    told = gate.run(*line, GetCall=pb.GetCallResponse(call=CALL))
    assert told.code == UNAVAILABLE and "out of reach" in told.err
    assert "Charge      0.120000 USD" in told.out and "It could not be read." in told.out
    as_json = gate.run(*line, "--json", GetCall=pb.GetCallResponse(call=CALL))
    assert as_json.code == UNAVAILABLE and as_json.json["ledger"] is None


def test_what_grpc_has_to_say_is_not_said(gate):
    """As it may when the command ends; here of a setting that there is none of."""
    run = gate.run("balance", *OF, GetBalance=pb.GetBalanceResponse(currency="usd"),
                   environment={"GRPC_TRACE": "nonsense"})
    assert run.code == DONE and run.err == "", run
