"""Every field's bound: INVALID_ARGUMENT names the field and what it must be.

SPDX-License-Identifier: Apache-2.0
"""

import uuid

import grpc
import pytest

from support.client import Failure, new_company
from support.contract import pb

COMPANY = str(uuid.UUID(int=7))
BIG = 999_999_999_999_999
WEEK = 7 * 24 * 3_600_000

KEY_BOUND = "1..128 bytes of printable ASCII"
BAD_KEYS = ["", "x" * 129, "with space", "tab\t", "nul\0", "é", "\x7f"]
BAD_COMPANIES = ["", "x", COMPANY[:-1], COMPANY + "0", COMPANY.replace("-", "_"),
                 COMPANY[:-1] + "g", "{" + COMPANY[1:-1] + "}"]
BAD_RESOURCES = ["Voice", "1voice", "voice-outbound", "voice outbound", "v" * 65, "_v", "é"]
BAD_DESTINATIONS = ["14155550100", "+", "+0123", "+1", "+1234567890123456", "+1415555o100",
                    "+1 415", "tel:+14155550100", "\0"]

authorize = {"company_id": COMPANY, "call_id": "c", "resource_type": "voice_outbound",
             "destination": "+14155550100"}
start = {"company_id": COMPANY, "call_id": "c"}
settle = {"company_id": COMPANY, "call_id": "c", "duration_ms": 1000}
adopt = {**authorize, "started_at_ms": 1}
credit = {"company_id": COMPANY, "amount_micros": 1, "type": pb.ENTRY_TYPE_TOP_UP,
          "reference_id": "r"}
charge = {"company_id": COMPANY, "resource_type": "phone_number_rental", "amount_micros": 1,
          "quantity": 1, "reference_id": "r"}
wallet = {"company_id": COMPANY}

GOOD = {"Authorize": authorize, "Start": start, "Stop": start, "Settle": settle, "Cancel": start,
        "Adopt": adopt, "CreateWallet": wallet, "GetWallet": wallet,
        "UpdateWallet": {**wallet, "frozen": True}, "GetBalance": wallet, "GetCall": start,
        "ListCalls": wallet, "Credit": credit, "Charge": charge}


def cases():
    for method, good in GOOD.items():
        for bad in BAD_COMPANIES:
            if (method, bad) != ("ListCalls", ""):
                yield method, "company_id", bad, "36"
        if "call_id" in good:
            for bad in BAD_KEYS:
                yield method, "call_id", bad, KEY_BOUND
        if "reference_id" in good:
            for bad in BAD_KEYS:
                yield method, "reference_id", bad, KEY_BOUND
    for method in ["Authorize", "Adopt", "Charge", "Settle"]:
        for bad in BAD_RESOURCES:
            yield method, "resource_type", bad, "[a-z][a-z0-9_]{0,63}"
    for method in ["Authorize", "Adopt", "Charge"]:
        yield method, "resource_type", "", "[a-z][a-z0-9_]{0,63}"
    for method in ["Authorize", "Adopt", "Settle"]:
        for bad in BAD_DESTINATIONS:
            yield method, "destination", bad, "+[1-9][0-9]{1,14}"
    for bad in [-1, WEEK + 1]:
        yield "Authorize", "reserve_ms", bad, None
        yield "Settle", "duration_ms", bad, None
    for method, field in [("Start", "started_at_ms"), ("Stop", "ended_at_ms"),
                          ("Settle", "started_at_ms"), ("Settle", "ended_at_ms")]:
        yield method, field, -1, None
    for bad in [0, -1]:
        yield "Adopt", "started_at_ms", bad, None
    for bad in [3, 4, 5, -1, 77]:  # METERED and ASSUMED are only answered
        yield "Settle", "basis", bad, None
    for method in ["Settle", "Credit", "Charge"]:
        for bad in [3, -1, 2**31 - 1]:
            yield method, "durability", bad, None
    for bad in [0, 6, 7, -1]:  # USAGE is written by Settle and Charge
        yield "Credit", "type", bad, None
    for bad in [0, -1, BIG + 1, -BIG - 1, 2**63 - 1, -2**63]:
        yield "Credit", "amount_micros", bad, None
        yield "Charge", "amount_micros", bad, None
    for bad in [0, -1]:
        yield "Charge", "quantity", bad, None
    for method in ["Credit", "Charge"]:
        for bad in ["x" * 257, "nul\0"]:
            yield method, "description", bad, "256"
    for bad in ["US", "usdt", "us1", "USD", "\0"]:
        yield "CreateWallet", "currency", bad, None
    for bad in [BIG + 1, -BIG - 1]:
        yield "UpdateWallet", "low_balance_micros", bad, None
    yield "UpdateWallet", "low_balance_remaining_ms", -1, None
    yield "ListCalls", "page_size", -1, None
    yield "ListCalls", "page_token", "x" * 4096, None


def ask(client, method, **fields):
    service = client.gate if hasattr(client.gate, method) else client.wallets
    return getattr(service, method)(getattr(pb, f"{method}Request")(**fields), timeout=10)


def failure_of(client, method, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        ask(client, method, **fields)
    return Failure(caught.value)


@pytest.mark.parametrize("method, field, bad, bound", list(cases()))
def test_a_value_out_of_its_bound_is_named(shared, method, field, bad, bound):
    fields = {**GOOD[method], field: bad}
    failure = failure_of(shared, method, **fields)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == (pb.ERROR_REASON_INVALID_FIELD, field)
    assert failure.bound and (bound is None or bound in failure.bound)


@pytest.mark.parametrize("prefix", ["correction:", "dup:", "undo:"])
@pytest.mark.parametrize("method, field", [("Authorize", "call_id"), ("Settle", "call_id"),
                                           ("Adopt", "call_id"), ("Cancel", "call_id"),
                                           ("Credit", "reference_id"), ("Charge", "reference_id")])
def test_the_ledgers_own_prefixes_are_refused(shared, prefix, method, field):
    failure = failure_of(shared, method, **{**GOOD[method], field: f"{prefix}x"})
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


@pytest.mark.parametrize("method", ["Authorize", "Settle", "Adopt", "Charge"])
@pytest.mark.parametrize("meta, field", [
    ({"": "v"}, "meta"), ({"k" * 65: "v"}, "meta"), ({"with space": "v"}, "meta"),
    ({"city": "a\0b"}, "meta[city]"), ({"a": "x" * 2048, "b": "x" * 2048}, "meta"),
])
def test_meta_out_of_its_bounds_is_named(shared, method, meta, field):
    failure = failure_of(shared, method, **{**GOOD[method], "meta": meta})
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert failure.field.startswith(field) and failure.bound


def test_a_settle_without_a_duration_is_an_error(shared):
    failure = failure_of(shared, "Settle", company_id=COMPANY, call_id="c")
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT and failure.field
    failure = failure_of(shared, "Settle", company_id=COMPANY, call_id="c", as_metered=False)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT and failure.field == "as_metered"


@pytest.mark.parametrize("kind, is_allowed", [
    (pb.ENTRY_TYPE_TOP_UP, False), (pb.ENTRY_TYPE_MONTHLY_GRANT, False),
    (pb.ENTRY_TYPE_BONUS, False), (pb.ENTRY_TYPE_REFUND, True), (pb.ENTRY_TYPE_ADJUSTMENT, True)])
def test_only_refunds_and_adjustments_take_money(shared, kind, is_allowed):
    company = shared.funded(1_000_000)
    if is_allowed:
        assert shared.credit(company, -400_000, type=kind).balance_micros == 600_000
    else:
        failure = shared.fails("credit", company, -400_000, type=kind)
        assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "amount_micros")


def raw(client, path, request):
    """What a request of these bytes ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        client.channel.unary_unary(path)(request, timeout=10)
    return Failure(caught.value)


def field_bytes(number, value):
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


HEAD = field_bytes(1, COMPANY.encode()) + field_bytes(2, b"c") + field_bytes(3, b"voice_outbound")
AUTHORIZE = "/callgate.v1.Gate/Authorize"


def test_bytes_that_are_no_message_are_refused(shared):
    for request in [b"\xff\xff\xff\xff", b"\x0a\x7fx", b"\x08", b"\x0b", HEAD + b"\x12\xff"]:
        assert raw(shared, AUTHORIZE, request).code == grpc.StatusCode.INVALID_ARGUMENT


def test_text_that_is_no_utf8_and_keys_that_stand_twice_are_refused(shared):
    bad_value = HEAD + field_bytes(7, field_bytes(1, b"city") + field_bytes(2, b"\xff\xfe"))
    failure = raw(shared, AUTHORIZE, bad_value)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "meta[city]")
    twice = HEAD + 2 * field_bytes(7, field_bytes(1, b"city") + field_bytes(2, b"x"))
    failure = raw(shared, AUTHORIZE, twice)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert failure.field.startswith("meta")


def test_fields_of_a_later_version_are_passed_over(shared):
    company = shared.funded(1_000_000)
    request = pb.AuthorizeRequest(**{**authorize, "company_id": company}).SerializeToString()
    later = request + bytes([0xF8, 0x3F, 1])  # field 1023, a varint
    answer = shared.channel.unary_unary(AUTHORIZE)(later, timeout=10)
    assert pb.AuthorizeResponse.FromString(answer).decision == pb.DECISION_ALLOWED


def test_ten_thousand_unknown_fields_do_not_swell_the_sidecar(shared):
    failure = raw(shared, AUTHORIZE, HEAD + bytes([0xF8, 0x3F, 1]) * 20_000)
    assert failure.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED,
                            grpc.StatusCode.NOT_FOUND)
    assert shared.is_serving()


def test_the_longest_values_are_taken(shared):
    company = shared.funded(1_000_000)
    call = "~" * 128
    meta = {"k" * 64: "v" * (4096 - 64)}
    answer = shared.authorize(company, call, destination="+123456789012345", meta=meta,
                              reserve_ms=1)
    assert answer.decision == pb.DECISION_ALLOWED
    assert dict(shared.get_call(company, call).meta) == meta
    settled = shared.settle(company, call, 1000, meta={"z" * 64: "w" * (4096 - 64)},
                            durability=pb.DURABILITY_COMMITTED)
    assert settled.cost_micros > 0
    assert len(shared.get_call(company, call).meta) == 2
    assert shared.credit(company, 1, description="é" * 128).balance_micros


def test_amounts_reach_fifteen_digits_and_balances_stay_whole(shared):
    """Credits are refused beyond 8 * 10^15: what is admitted, nothing may refuse afterwards."""
    company = shared.funded(BIG)
    assert shared.balance(company).posted_micros == BIG
    for _ in range(7):
        shared.credit(company, BIG)
    assert shared.balance(company).posted_micros == 8 * BIG
    failure = shared.fails("credit", company, BIG)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "amount_micros")
    assert shared.balance(company).posted_micros == 8 * BIG
    assert shared.credit(company, 8).balance_micros == 8 * BIG + 8
    assert shared.credit(company, -BIG, type=pb.ENTRY_TYPE_ADJUSTMENT).balance_micros == 7 * BIG + 8


def test_a_company_that_nobody_has_is_only_not_found(shared):
    assert shared.fails("balance", new_company()).code == grpc.StatusCode.NOT_FOUND
