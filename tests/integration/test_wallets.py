"""CreateWallet, GetWallet, UpdateWallet, GetBalance.

SPDX-License-Identifier: Apache-2.0
"""

import grpc

from support.client import new_company
from support.contract import pb


def test_a_new_wallet_is_empty_starter_and_in_dollars(shared):
    company = new_company()
    answer = shared.create_wallet(company)
    assert not answer.replayed
    wallet = answer.wallet
    assert (wallet.company_id, wallet.currency, wallet.plan_id, wallet.frozen) == (
        company, "usd", "starter", False)
    assert wallet.wallet_id and wallet.created_at_ms > 0
    balance = shared.balance(company)
    assert (balance.posted_micros, balance.held_micros, balance.accrued_micros,
            balance.available_micros, balance.active_calls) == (0, 0, 0, 0, 0)
    assert (balance.currency, balance.plan_id, balance.credit_unlimited) == ("usd", "starter", False)


def test_creating_a_wallet_again_is_a_replay(shared):
    company = new_company()
    first = shared.create_wallet(company, currency="ngn", plan_id="growth")
    again = shared.create_wallet(company, currency="ngn", plan_id="growth")
    assert again.replayed and again.wallet == first.wallet


def test_a_wallet_does_not_change_its_currency(shared):
    company = new_company()
    shared.create_wallet(company, currency="usd")
    failure = shared.fails("create_wallet", company, currency="ngn")
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    assert failure.reason == pb.ERROR_REASON_KEY_REUSED


def test_upper_case_is_read_and_lower_case_answered(shared):
    company = new_company()
    shared.create_wallet(company.upper())
    assert shared.get_wallet(company.upper()).wallet.company_id == company
    assert shared.balance(company.upper()).company_id == company


def test_without_a_wallet_nothing_is_answered(shared):
    company = new_company()
    for method, args in [("get_wallet", ()), ("balance", ()), ("update_wallet", ()),
                         ("authorize", ("c",)), ("start", ("c",)), ("stop", ("c",)),
                         ("settle", ("c", 1000)), ("cancel", ("c",)), ("get_call", ("c",)),
                         ("credit", (1_000_000,)), ("charge", (1_000_000,))]:
        fields = {"frozen": True} if method == "update_wallet" else {}
        failure = shared.fails(method, company, *args, **fields)
        assert (method, failure.code, failure.reason) == (
            method, grpc.StatusCode.NOT_FOUND, pb.ERROR_REASON_NO_WALLET)


def test_a_plan_that_is_none_is_refused(shared):
    failure = shared.fails("create_wallet", new_company(), plan_id="nosuchplan")
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert (failure.reason, failure.field) == (pb.ERROR_REASON_INVALID_FIELD, "plan_id")
    company = shared.funded(0)
    failure = shared.fails("update_wallet", company, plan_id="nosuchplan")
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "plan_id")


def test_an_update_leaves_alone_what_it_does_not_name(shared):
    company = shared.funded(0)
    wallet = shared.update_wallet(company, frozen=True).wallet
    assert (wallet.frozen, wallet.plan_id) == (True, "starter")
    wallet = shared.update_wallet(company, plan_id="growth").wallet
    assert (wallet.frozen, wallet.plan_id) == (True, "growth")
    wallet = shared.update_wallet(company, low_balance_micros=5_000_000).wallet
    assert (wallet.frozen, wallet.plan_id, wallet.low_balance_micros) == (True, "growth", 5_000_000)
    wallet = shared.update_wallet(company, low_balance_remaining_ms=600_000).wallet
    assert wallet.WhichOneof("low_balance") == "low_balance_remaining_ms"
    wallet = shared.update_wallet(company, frozen=False).wallet
    assert (wallet.frozen, wallet.low_balance_remaining_ms) == (False, 600_000)
    assert shared.get_wallet(company).wallet == wallet
