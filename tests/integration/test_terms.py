"""Plans and rates change within a second, without a restart, at every sidecar.

SPDX-License-Identifier: Apache-2.0
"""

import time

import pytest

from support.contract import pb
from support.waiting import wait_until

WITHIN = 1.0  # what the contract promises


def rate_of(client, company):
    return client.authorize(company, "", validate_only=True).price.rate_micros_per_minute


def test_a_rate_changes_at_both_sidecars(make_stack):
    stack = make_stack(sidecars=2)
    clients = [sidecar.client for sidecar in stack.sidecars]
    company = clients[0].funded(100_000_000)
    assert [rate_of(client, company) for client in clients] == [100_000, 100_000]
    stack.sql("update callgate.rates set rate_micros_per_minute = 123456"
              " where plan_id = 'starter' and prefix = '+1' and resource_type = 'voice_outbound'")
    for client in clients:
        wait_until(lambda c=client: rate_of(c, company) == 123_456, WITHIN, "the new rate")


def test_a_wallet_updated_at_one_sidecar_is_so_at_the_other(make_stack):
    stack = make_stack(sidecars=2)
    here, there = [sidecar.client for sidecar in stack.sidecars]
    company = here.funded(100_000_000)
    assert there.authorize(company, "", validate_only=True).decision == pb.DECISION_ALLOWED
    here.update_wallet(company, frozen=True)
    wait_until(lambda: there.authorize(company, "", validate_only=True).decision
               == pb.DECISION_DENIED_SUSPENDED, WITHIN, "frozen there too")
    here.update_wallet(company, frozen=False, plan_id="scale")
    wait_until(lambda: rate_of(there, company) == 80_000, WITHIN, "the other plan's rate")
    assert there.balance(company).credit_limit_micros == 100_000_000


def test_a_subscription_that_is_unpaid_suspends_its_company(make_stack):
    stack = make_stack()
    company = stack.client.funded(100_000_000)
    stack.client.authorize(company, "running", start=True)
    stack.sql("insert into billing_subscriptions (company_id, plan_id, status)"
              " values (%s, 'starter', 'unpaid')", [company])
    wait_until(lambda: stack.client.authorize(company, "", validate_only=True).decision
               == pb.DECISION_DENIED_SUSPENDED, WITHIN, "suspended")
    assert stack.client.settle(company, "running", 1_000).cost_micros > 0


def test_a_running_call_keeps_its_price(make_stack):
    stack = make_stack()
    company = stack.client.funded(100_000_000)
    stack.client.authorize(company, "c", start=True)
    stack.sql("update callgate.rates set rate_micros_per_minute = 999999 where plan_id = 'starter'")
    wait_until(lambda: rate_of(stack.client, company) == 999_999, WITHIN, "the new rate")
    assert stack.client.settle(company, "c", 60_000).cost_micros == 100_000


def test_without_notifications_polling_finds_the_change(make_stack):
    """A pooler in front of Postgres drops LISTEN: the listening session is cut again and again."""
    stack = make_stack()
    company = stack.client.funded(100_000_000)
    assert rate_of(stack.client, company) == 100_000

    def cut():
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where datname = current_database() and query ilike 'listen%'")

    cut()
    stack.sql("update callgate.rates set rate_micros_per_minute = 77777 where plan_id = 'starter'")
    end = time.monotonic() + 5

    def found():
        cut()
        return rate_of(stack.client, company) == 77_777

    wait_until(found, end - time.monotonic(), "the new rate")


@pytest.fixture(autouse=True)
def nothing_in_quarantine(make_stack, request):
    yield
    for stack in request.node.stacks:
        assert stack.value("select count(*) from callgate.quarantine") == 0
