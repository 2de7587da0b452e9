"""A flusher in a few lines: wallets, the entries that the store would write, callgate.flush().

SPDX-License-Identifier: Apache-2.0
"""

import dataclasses
import json
import uuid

FLUSH = """select * from callgate.flush(%s, %s, %s, %s, %s, %s, %s,
    %s::bigint[], %s::bigint[], %s::uuid[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::boolean[], %s::jsonb[],
    %s::bytea, %s::text)"""


@dataclasses.dataclass
class Entry:
    epoch: int
    n: int
    company: uuid.UUID
    version: int
    type: str
    amount: int
    balance: int
    at_ms: int
    reference: str
    description: str = ""
    resource: str = ""
    quantity: int = 0
    is_charge: bool = False
    meta: str | None = None

    @property
    def id(self):
        return f"{PARTITION}-{self.epoch}-{self.n}"


PARTITION = 3


class Flusher:
    """Partition 3 under epoch 1, and what it believes of the cursor."""

    def __init__(self, sql):
        self.sql = sql
        self.epoch, self.last, self.n = 1, (0, 0), 0
        self.books = {}
        sql("insert into callgate.cursors (partition, epoch) values (%s, 1)", PARTITION)

    def wallet(self, currency="usd"):
        company = uuid.uuid4()
        assert self.sql("select callgate.wallet_create(%s, %s, 'starter')", company, currency) == [("created",)]
        self.books[company] = (0, 0)
        return company

    def entry(self, company, type="usage", amount=-93000, reference=None, **more):
        version, balance = self.books[company]
        self.books[company] = version + 1, balance + amount
        self.n += 1
        entry = Entry(self.epoch, self.n, company, version + 1, type, amount, balance + amount,
                      1787300000123 + self.n, reference or f"ref-{self.n}")
        if type == "usage":
            entry.resource, entry.quantity = "voice_outbound", 62000
            # Assumed, so that it may be corrected.
            entry.meta = json.dumps({"basis": "assumed", "entry_id": entry.id, "call_id": entry.reference,
                                     "billed_ms": 62000, "rate_micros_per_minute": 90000,
                                     "meta": {"city": "Łódź", "k": ""}})
        for name, value in more.items():
            setattr(entry, name, value)
        return entry

    def correction(self, company, call_id, amount, quantity, billed_ms):
        """Of a call that entry() made: the difference in cost and in billed milliseconds."""
        entry = self.entry(company, "adjustment", amount, f"correction:{call_id}",
                           resource="voice_outbound", quantity=quantity)
        entry.meta = json.dumps({"entry_id": entry.id, "call_id": call_id, "correction": True,
                                 "billed_ms": billed_ms, "rate_micros_per_minute": 90000})
        return entry

    def shadow(self, company, decision, saved, cut_at_ms=None, **more):
        """A call of shadow mode, as the room says it."""
        entry = self.entry(company, **more)
        meta = {**json.loads(entry.meta), "shadow_decision": decision, "shadow_saved_micros": saved}
        if cut_at_ms is not None:
            meta["shadow_cut_at_ms"] = cut_at_ms
        entry.meta = json.dumps(meta)
        return entry

    def flush(self, *entries, mode=0, trimmed=(0, 0), raw=None, reason=None):
        columns = [[getattr(e, f.name) for e in entries] for f in dataclasses.fields(Entry)]
        (row,) = self.sql(FLUSH, PARTITION, self.epoch, *self.last, *trimmed, mode, *columns, raw, reason)
        if row[0] == "done":
            self.last = row[2], row[3]
        return row
