"""What a sidecar of the version before this one says to Postgres, in its own words, with values that
are answered: `ENDS` is the last migration that it knew.  When a version is released, its statements
(src/ledger) replace these.

SPDX-License-Identifier: Apache-2.0
"""

import uuid

from flusher import FLUSH, Flusher

ENDS = "20261122110100"

CURSOR = "select c.partition, c.epoch, c.last_epoch, c.last_n, c.served"
KEY = """select r.entry_id, r.type, r.amount_micros, r.balance_after_micros, r.at_ms,
    r.description, r.resource_type, r.is_charge, r.quantity, r.currency, r.pairs,
    coalesce(c.amount_micros, 0), coalesce(r.meta ->> 'destination', ''),
    r.meta ->> 'rate_micros_per_minute', r.meta ->> 'connect_fee_micros',
    r.meta ->> 'minimum_ms', r.meta ->> 'increment_ms', r.meta ->> 'duration_ms',
    r.meta ->> 'billed_ms', coalesce(r.meta ->> 'basis', ''), r.meta ->> 'late',
    r.meta ->> 'authorized_at_ms', r.meta ->> 'started_at_ms', r.meta ->> 'ended_at_ms',
    coalesce(c.entry_id, ''), c.meta ->> 'duration_ms', c.meta ->> 'billed_ms',
    coalesce(c.meta ->> 'basis', '')
    from callgate.key_read(%s, %s, %s) r
    left join lateral callgate.key_read(%s, 'adjustment', 'correction:' || %s) c on %s = 'usage'"""
TERMS = """select kind, plan_id, a, b, c, d, e, f, g, h, i, j, k from (
    select 0 as kind, plan_id, '' as currency, '' as resource, '' as prefix,
    version::text as a, credit_limit_micros::text as b, credit_unlimited::text as c,
    shadow::text as d, calls_max::text as e, longest_call_ms::text as f,
    ring_lease_ms::text as g, default_reserve_ms::text as h, guard_ms::text as i,
    cut_warning_ms::text as j, cut_repeat_ms::text as k from callgate.plans
    union all
    select 1, plan_id, currency, resource_type, prefix, currency, resource_type, prefix,
    rate_micros_per_minute::text, connect_fee_micros::text, minimum_ms::text,
    increment_ms::text, '', '', '', '' from callgate.rates
    ) t order by kind, plan_id collate "C", currency collate "C", resource collate "C",
    prefix collate "C" """
WALLET = """select w.wallet_id, w.currency, w.plan_id, w.frozen, w.suspended,
    w.low_balance_micros, w.low_balance_micros is not null,
    w.low_balance_remaining_ms, w.created_at_ms, w.terms_version,
    w.posted_micros, w.version from callgate.wallet_read(%s) w"""
FLUSHED = FLUSH.replace("select *", "select f.ret_outcome, f.ret_epoch, f.ret_last_epoch, f.ret_last_n,"
                        " f.ret_quarantined, f.ret_duplicates") + " f"


class OldSidecar:
    """`run(statement, *values)` answers rows; prepared, as the role that sidecars log in with."""

    def __init__(self, owner, run):
        self.run, self.number = run, 0
        owner("insert into callgate.cursors (partition, epoch) values (3, 1), (4, 1)")
        self.flusher = Flusher(lambda statement, *values: run(statement.replace(FLUSH, FLUSHED), *values)
                               if not statement.startswith("insert into callgate.cursors") else [])

    def work(self):
        """Everything that it ever says, once more."""
        run, flusher = self.run, self.flusher
        self.number += 1
        assert run("select d.ret_id, d.ret_partitions from callgate.deployment_read(%s) d", 16)[0][1] == 16
        company = flusher.wallet()
        assert run("select callgate.wallet_update(%s, %s, %s, %s::bigint, %s::bigint)",
                   company, "growth", False, 1000, 0) == [("done",)]
        assert run(WALLET, company)[0][1:4] == ("usd", "growth", False)
        self._receipts_and_flush(company)
        assert len(run(TERMS)) > 5
        latest = run("select callgate.terms_latest()")[0][0]
        assert latest > 0
        run("select c.company_id, c.version, c.company_id is null"
            " from callgate.terms_changes(%s, %s, %s) c", 0, 0, 1000)
        self._recover()

    def _receipts_and_flush(self, company):
        run, flusher, reference = self.run, self.flusher, f"pay-{self.number}"
        assert run("select callgate.receipt_write(%s, 'top_up', %s, %s, %s, %s)",
                   company, 1000, reference, "", "x") == [("written",)]
        due, = [row for row in run(
            "select d.id, d.company_id, d.type, d.amount_micros, d.reference_id, d.description,"
            " d.asked_by from callgate.receipts_due(%s, %s, %s) d", 0, 0, 100) if row[4] == reference]
        assert due[1:4] == (company, "top_up", 1000)
        top_up = flusher.entry(company, "top_up", 1000, reference)
        call = flusher.entry(company)
        again = flusher.entry(company, reference=call.reference)
        assert flusher.flush(top_up, call, again)[4:] == (0, 1)
        assert run(KEY, company, "usage", call.reference, company, call.reference, "usage")[0][0] == call.id
        assert run("select k.ord, k.entry_id from callgate.keys_booked(%s, %s, %s) k",
                   [company], ["usage"], [call.reference]) == [(1, call.id)]
        awaited = run(CURSOR + ", q from callgate.cursors_read(%s) c"
                      " left join lateral unnest(c.quarantined) q on true", [call.id])
        assert {row[0] for row in awaited} >= {3}

    def _recover(self):
        """Of partition 4: each time from the epoch before to the next."""
        run, epoch = self.run, self.number + 1
        (_, before, *_), = run(CURSOR + " from callgate.cursors_read('{}') c where c.partition = %s", 4)
        assert before == epoch - 1
        run("select callgate.turn_take(%s, %s)", 4, 1)
        assert run("select callgate.epoch_take(%s, %s, %s)", 4, before, epoch) == [(True,)]
        run("select callgate.orphans_put(%s, %s, %s::bigint[], %s::bigint[], %s::uuid[], %s::bigint[],"
            " %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])",
            4, epoch, [1], [self.number], [uuid.uuid4()], [1], ["usage"], [-5], [-5], [1787300000123], [b"o"])
        assert run("select callgate.epoch_served(%s, %s)", 4, epoch) == [(True,)]
