"""The invariants at the end of the ledger's design, on a stack that stands still.

Every test that injects a fault ends with check_invariants(); it drains the store's streams
first, so nothing may be under way.  Where it fails it names everything that is wrong, not
only the first thing.

SPDX-License-Identifier: Apache-2.0
"""

import collections
import uuid

import grpc

from support.contract import pb
from support.waiting import wait_until
from support.wire import take_record

COUNTED = (pb.CALL_STATE_AUTHORIZED, pb.CALL_STATE_METERING, pb.CALL_STATE_STOPPED)

WALLETS = """
    select w.company_id::text, w.version, callgate.to_micros(w.balance, w.currency),
           w.chain_hash
      from wallets w order by 1
"""

# What the rows of one wallet add up to; versions and balances row by row.
CHAIN = """
    with entry as (
      select t.*, callgate.to_micros(t.amount, w.currency) as amount_micros,
             callgate.to_micros(t.balance_after, w.currency) as after_micros,
             row_number() over own as nth,
             sum(t.amount) over (own rows unbounded preceding) as added,
             lag(t.hash, 1, ''::bytea) over own as hash_before
        from wallet_transactions t join wallets w on w.id = t.wallet_id
      window own as (partition by t.wallet_id order by t.version)
    )
    select company_id::text, entry_id, version, nth, after_micros,
           version = nth as is_next,
           balance_after = added as adds_up,
           hash = sha256(hash_before || callgate.entry_content(entry_id, company_id, version, type,
             amount_micros, after_micros, callgate.to_ms(created_at), reference_id, description))
             as is_chained
      from entry
"""

LAST = """
    select w.company_id::text
      from wallets w
      left join lateral (select t.version, t.balance_after, t.hash from wallet_transactions t
        where t.wallet_id = w.id order by t.version desc limit 1) l on true
     where w.version <> coalesce(l.version, 0) or w.balance <> coalesce(l.balance_after, 0)
        or w.chain_hash <> coalesce(l.hash, ''::bytea)
"""

TWICE = """
    select company_id::text, type, reference_id, count(*) from wallet_transactions
     group by 1, 2, 3 having count(*) > 1
"""

KEYLESS = """
    select t.entry_id from wallet_transactions t
      left join callgate.keys k using (company_id, type, reference_id)
     where k.entry_id is distinct from t.entry_id
    union all
    select k.entry_id from callgate.keys k
      left join wallet_transactions t using (company_id, type, reference_id)
     where t.entry_id is null
"""

# A usage entry has one row in usage_logs, with what it cost; a correction one with the difference.
UNLOGGED = """
    select coalesce(t.entry_id, u.meta->>'entry_id')
      from (select *, type = 'adjustment' as corrects from wallet_transactions
             where type = 'usage'
                or (type = 'adjustment' and starts_with(reference_id, 'correction:'))) t
      full join usage_logs u on u.meta->>'entry_id' = t.entry_id
     where t.entry_id is null or u.id is null or u.cost <> -t.amount
        or u.company_id <> t.company_id or u.meta ? 'correction' <> t.corrects
        or (not u.meta ? 'is_charge'
            and t.reference_id <> case when t.corrects then 'correction:' else '' end
                                  || (u.meta->>'call_id'))
"""

# What was billed of a call, correction included, is what its last row says; there is one call.
MISCORRECTED = """
    select c.meta->>'call_id' from usage_logs c
      left join usage_logs u on u.company_id = c.company_id
       and u.meta->>'call_id' = c.meta->>'call_id' and not u.meta ? 'correction'
     where c.meta ? 'correction'
       and (u.id is null or abs((u.quantity + c.quantity) * 60000
              - (c.meta->>'billed_ms')::numeric) > 0.000001)
"""

# What waits, and whether its entry is there all the same.
UNAPPLIED = """
    select r.type, r.reference_id, k.entry_id from callgate.receipts r
      left join callgate.keys k using (company_id, type, reference_id)
     where r.entry_id is null
"""

QUARANTINED = "select kind, entry_id, reason from callgate.quarantine"


def check_invariants(stack, quarantine=(), timeout=30):
    """All of them; `quarantine`: the reasons of entries that a test put there on purpose."""
    wait_until(lambda: _is_in_use(stack), timeout, "every partition is served")
    wait_until_drained(stack, timeout)
    wrong = [*_ledger(stack, quarantine), *_store(stack), *_records(stack)]
    assert not wrong, "\n".join(["invariants do not hold:", *wrong[:40]])


def _is_in_use(stack):
    """A listing of everybody's calls asks every partition."""
    try:
        stack.client.live_calls()
        return True
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        return False


def wait_until_drained(stack, timeout=30):
    """Until every receipt has its entry and both stores have the same posted balances."""
    companies = [row[0] for row in stack.sql(WALLETS)]
    wait_until(lambda: not stack.sql(UNAPPLIED), timeout,
               lambda: f"every receipt has its entry: {stack.sql(UNAPPLIED)[:5]}")

    def drained():
        posted = {company: _balance(stack, company).posted_micros for company in companies}
        in_ledger = {row[0]: row[2] for row in stack.sql(WALLETS)}
        late = [f"{company}: store {posted[company]}, ledger {in_ledger[company]}"
                for company in companies if posted[company] != in_ledger[company]]
        assert not late, late[:5]
        return True

    wait_until(drained, timeout, "the store's entries are in the ledger")


def _balance(stack, company):
    return stack.client.balance(company)


def _ledger(stack, quarantine):
    """Conservation, keys, versions, balances and the hash chain, all in Postgres."""
    for company, entry, version, nth, after, is_next, adds_up, is_chained in stack.sql(CHAIN):
        if not is_next:
            yield f"{company}: {entry} has version {version} and is number {nth}"
        if not adds_up:
            yield f"{company}: {entry} has balance-after {after}, its amounts say otherwise"
        if not is_chained:
            yield f"{company}: {entry} breaks the hash chain"
    for (company,) in stack.sql(LAST):
        yield f"{company}: the wallet is not what its last entry says"
    for row in stack.sql(TWICE):
        yield f"in the ledger more than once: {row}"
    for (entry,) in stack.sql(KEYLESS):
        yield f"{entry}: ledger and keys differ"
    for (entry,) in stack.sql(UNLOGGED):
        yield f"{entry}: ledger and usage_logs differ"
    for (call_id,) in stack.sql(MISCORRECTED):
        yield f"{call_id}: was billed otherwise than its correction says"
    for kind, entry, reason in stack.sql(QUARANTINED):
        if not any(known in reason for known in quarantine):
            yield f"{entry} is in quarantine ({kind}): {reason}"


def _store(stack):
    """What the store answers about wallets agrees with its calls and with the ledger."""
    calls = collections.defaultdict(list)
    for call in stack.client.live_calls():
        calls[call.company_id].append(call)
    for company, _, ledger_micros, _ in stack.sql(WALLETS):
        try:
            wallet = _balance(stack, company)
        except grpc.RpcError as error:
            yield f"{company}: GetBalance ended with {error.code()}"
            continue
        live = calls.pop(company, [])
        yield from _wallet(company, wallet, live, ledger_micros)
    for company in calls:
        yield f"{company}: has live calls and no wallet"


def _wallet(company, wallet, live, ledger_micros):
    held = sum(call.held_micros for call in live)
    burn = sum(call.price.rate_micros_per_minute for call in live
               if call.state == pb.CALL_STATE_METERING)
    if wallet.posted_micros != ledger_micros:
        yield f"{company}: posted {wallet.posted_micros}, in the ledger {ledger_micros}"
    if wallet.held_micros != held:
        yield f"{company}: held {wallet.held_micros}, its calls hold {held}"
    if wallet.burn_micros_per_minute != burn:
        yield f"{company}: burns {wallet.burn_micros_per_minute}, its calls {burn}"
    if wallet.active_calls != len(live):
        yield f"{company}: {wallet.active_calls} active calls, {len(live)} listed"
    if len({call.call_id for call in live}) != len(live):
        yield f"{company}: a call is listed twice"
    for call in live:
        if call.state not in COUNTED:
            yield f"{company}: {call.call_id} is listed as live in state {call.state}"
    credit = 0 if wallet.credit_unlimited else wallet.credit_limit_micros
    available = wallet.posted_micros + credit - wallet.held_micros - wallet.accrued_micros
    if wallet.available_micros != available:
        yield f"{company}: available {wallet.available_micros}, its parts say {available}"


def _records(stack):
    """The store's own bytes, read past the function library, against what it answers."""
    redis = stack.redis.client
    calls = collections.defaultdict(list)
    for call in stack.client.live_calls():
        calls[call.company_id].append(call)
    versions = {row[0]: row[1] for row in stack.sql(WALLETS)}
    partitions = stack.value("select partitions from callgate.deployment")
    seen = set()
    for number in range(partitions):
        prefix = b"cg:{p%d}:" % number
        # A member that is no company keeps the key in being.
        due = {member: at for member, at in redis.zrange(prefix + b"due", 0, -1, withscores=True)
               if len(member) == 16}
        for key in redis.scan_iter(match=prefix + b"w:*", count=1000):
            company = str(uuid.UUID(bytes=key[len(prefix) + 2:]))
            seen.add(company)
            fields = redis.hgetall(key)
            record = take_record(fields)
            for fault in _record(record, fields, calls[company], versions.get(company),
                                 due.pop(uuid.UUID(company).bytes, 0)):
                yield f"{company}: in the store {fault}"
        for company in due:
            yield f"{uuid.UUID(bytes=company)}: is due and has no wallet in the store"
    for company, live in calls.items():
        if live and company not in seen:
            yield f"{company}: has live calls and no record"


def _record(record, fields, live, version, due):
    if record.version != version:
        yield f"version {record.version}, in the ledger {version}"
    if record.held != sum(call.held_micros for call in live):
        yield f"held {record.held} is not what its calls hold"
    if record.burn != sum(call.price.rate_micros_per_minute for call in live
                          if call.state == pb.CALL_STATE_METERING):
        yield f"burn {record.burn} is not what its calls burn"
    if record.calls != len(live) or set(fields) != {call.call_id.encode() for call in live}:
        yield f"{record.calls} calls, {len(fields)} records of calls, {len(live)} listed"
    if not 0 <= record.rem < 60_000 or record.accrued < 0:
        yield f"accrued {record.accrued} and {record.rem} sixty-thousandths"
    if due != record.due:
        yield f"due at {record.due}, in the due set {due:.0f}"
    if live and record.due == 0:
        yield "live calls and nothing in the due set"
    for call in live:
        if call.state == pb.CALL_STATE_AUTHORIZED and call.expires_at_ms < record.due:
            yield f"due at {record.due}, after the lease of {call.call_id}"
