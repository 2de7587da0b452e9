"""audit: every difference that it can report is made on a real stack, found, and named; a busy
system has none.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import re
import struct
import threading
import uuid

import psycopg
import pytest

from cli_support import COMPANY, DONE, FORBIDDEN, INCOMPATIBLE, NOT_FOUND, UNAVAILABLE, WRONG, Run
from support.contract import pb
from support.load import Load
from support.processes import release_directory
from support.waiting import wait_until
from support.wire import WALLET_FIELDS, Partition


def audit(stack, *line):
    """The JSON of a run, and its exit code."""
    told = Run(["audit", "--json", *line], stack.environment())
    assert told.code in (DONE, WRONG, UNAVAILABLE) and told.err == "", told
    return told.json, told.code


def timeless(words):
    """Without how late something is: that goes on while one looks."""
    return re.sub(r" by .*", "", words)


def only_difference(stack, company):
    """The one difference that is reported of this company, for programs and for people."""
    found, code = audit(stack, "--company", company)
    assert code == WRONG and len(found["differences"]) == 1, found
    difference = found["differences"][0]
    told = Run(["audit", "--company", company], stack.environment())
    assert told.code == WRONG, told
    assert timeless(told.lines()[0]) == timeless(f"{company}: {difference['words']}"), told
    assert told.lines()[-1].endswith(": 1 difference"), told
    return difference


class Store:
    """Raw access to one company's keys."""

    def __init__(self, stack, company):
        count = stack.value("select partitions from callgate.deployment")
        self.bytes = uuid.UUID(company).bytes
        self.redis = stack.redis.client
        number = next(n for n in range(count)
                      if self.redis.exists(b"cg:{p%d}:w:" % n + self.bytes))
        self.partition = Partition(self.redis, number)
        self.key = self.partition.wallet_key(self.bytes)

    def change(self, **values):
        """Fields of the record, by what is added to them."""
        record = list(struct.unpack("<B10d", self.redis.hget(self.key, b"")))
        for name, more in values.items():
            record[WALLET_FIELDS.index(name)] += more
        self.redis.hset(self.key, b"", struct.pack("<B10d", *record))


@pytest.fixture
def company(request, shared_stack):
    """A settled, a running and a waiting call, all entries in the ledger."""
    request.node.stacks = [shared_stack]
    client = shared_stack.client
    made = client.funded(10_000_000)
    for call in ["settled", "running", "waiting"]:
        client.authorize(made, call)
    client.start(made, "running")
    client.settle(made, "settled", 61_001, durability=pb.DURABILITY_COMMITTED)
    shared_stack.wait_until_flushed(made)
    found, code = audit(shared_stack, "--company", made)
    assert code == DONE and found["wallets"] == 1 and found["entries"] == 2, found
    return made


IN_POSTGRES = [
    ("update wallet_transactions set version = version + 1 where type = 'usage' and company_id = %(company)s",
     "version", "has version 3 where 2 comes next"),
    ("delete from wallet_transactions where type = 'top_up' and company_id = %(company)s",
     "version", "has version 2 where 1 comes next"),
    ("update wallet_transactions set balance_after = balance_after + 0.0001"
     " where type = 'usage' and company_id = %(company)s",
     "balance_after", "has balance-after 9.896667 USD; its amount and the entry before make 9.896666 USD"),
    ("update wallet_transactions set description = 'other' where type = 'usage' and company_id = %(company)s",
     "hash", "the hash before it and its content make"),
    ("update callgate.keys set entry_id = '0-0-0' where type = 'usage' and company_id = %(company)s",
     "key", "names 0-0-0, not"),
    ("delete from callgate.keys where type = 'usage' and company_id = %(company)s", "key", "names none, not"),
    ("update callgate.keys set created_at = created_at + interval '1 s'"
     " where type = 'usage' and company_id = %(company)s", "key", "names another instant, not"),
    ("insert into callgate.keys values (%(company)s, 'bonus', 'ghost', '0-9-9', now())",
     "row", "callgate.keys has bonus ghost under entry 0-9-9, and the ledger has no such row"),
    ("delete from usage_logs where company_id = %(company)s", "usage_rows", "has 0 rows in usage_logs, not 1"),
    ("insert into usage_logs (company_id, resource_type, quantity, cost, meta, created_at) select company_id,"
     " resource_type, quantity, cost, meta, created_at from usage_logs where company_id = %(company)s",
     "usage_rows", "has 2 rows in usage_logs, not 1"),
    ("insert into usage_logs (company_id, resource_type, quantity, cost, meta, created_at) select company_id, 'x',"
     " 1, 1, jsonb_build_object('entry_id', entry_id), created_at from wallet_transactions"
     " where type = 'top_up' and company_id = %(company)s", "usage_rows", "has 1 rows in usage_logs, not 0"),
    ("update usage_logs set cost = cost + 0.0001 where company_id = %(company)s",
     "usage_cost", "usage_logs has cost 0.103335 USD for entry"),
    ("insert into usage_logs (company_id, resource_type, quantity, cost, meta, created_at) values"
     " (%(company)s, 'x', 1, 1, '{\"entry_id\": \"0-9-9\"}', now())",
     "usage_entry", "usage_logs has a row of entry 0-9-9, and the ledger has no such row"),
    ("update wallets set version = version + 1 where company_id = %(company)s",
     "last_version", "the ledger's wallet has version 3, its last entry"),
    ("update wallets set balance = balance + 1 where company_id = %(company)s",
     "last_balance", "the ledger's wallet has balance 9.906666 USD, its last entry"),
    ("update wallets set chain_hash = '\\x00' where company_id = %(company)s",
     "last_hash", "the ledger's wallet has hash 00, its last entry"),
    ("insert into callgate.quarantine (kind, entry_id, company_id, version, type, amount_micros,"
     " balance_after_micros, at_ms, reason) values ('wallet', '0-9-8', %(company)s, 9, 'bonus', 1, 9896667, 1, 'r')",
     "quarantine_version", "entry 0-9-8 in quarantine has version 9 where 3 comes next"),
    ("insert into callgate.quarantine (kind, entry_id, company_id, version, type, amount_micros,"
     " balance_after_micros, at_ms, reason) values ('wallet', '0-9-7', %(company)s, 3, 'bonus', 1, 5, 1, 'r')",
     "quarantine_balance", "has balance-after 0.000005 USD; its amount and what is before make 9.896667 USD"),
]


@pytest.mark.parametrize("statement, check, words", IN_POSTGRES)
def test_what_is_wrong_in_the_ledger_is_named(shared_stack, company, statement, check, words):
    with psycopg.connect(shared_stack.url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement, {"company": company})
    difference = only_difference(shared_stack, company)
    assert difference["check"] == check and words in difference["words"], difference
    since = Run(["audit", "--company", company, "--since", "2020-01-01"], shared_stack.environment())
    assert difference["words"] in since.out, since


IN_THE_STORE = [
    (dict(posted=1), "posted", "posted is 9.896667 USD in the store; the ledger and the entries not yet"
                               " flushed make 9.896666 USD"),
    (dict(version=-1), "behind", "the store has version 1, the ledger 2: the store is behind"),
    (dict(version=2), "missing", "the store has version 4; ledger and stream end at 2"),
    (dict(held=7), "held", "is held; the holds of its calls make"),
    (dict(burn=60), "burn", "0.100060 USD a minute burns; the rates of its metering calls make 0.100000 USD"),
    (dict(calls=1), "calls", "the record counts 3 calls, and there are 2"),
    (dict(accrued=5), "accrued", "has accrued; its calls make"),
    (dict(due=-1), "due_set", "its due work is at"),
]


@pytest.mark.parametrize("change, check, words", IN_THE_STORE)
def test_what_is_wrong_in_the_store_is_named(shared_stack, company, change, check, words):
    Store(shared_stack, company).change(**change)
    difference = only_difference(shared_stack, company)
    assert difference["check"] == check and words in difference["words"], difference


def test_a_remainder_that_is_not_its_calls_is_named(shared_stack, company):
    """Which remainder there is depends on the millisecond: any other one is wrong."""
    store = Store(shared_stack, company)
    record = struct.unpack("<B10d", store.redis.hget(store.key, b""))
    rem = record[WALLET_FIELDS.index("rem")]
    store.change(rem=1 if rem < 59_999 else -1)
    assert only_difference(shared_stack, company)["check"] == "remainder"


def test_a_record_that_cannot_be_read_is_named(shared_stack):
    company = shared_stack.client.funded(1_000_000)
    shared_stack.wait_until_flushed(company)
    store = Store(shared_stack, company)
    whole = store.redis.hget(store.key, b"")
    store.redis.hset(store.key, b"", b"short")
    difference = only_difference(shared_stack, company)
    assert difference["check"] == "record" and "cannot be read" in difference["words"]
    store.redis.hset(store.key, b"", whole)
    assert audit(shared_stack, "--company", company)[1] == DONE


def test_live_calls_without_due_work_are_named(shared_stack, company):
    store = Store(shared_stack, company)
    record = struct.unpack("<B10d", store.redis.hget(store.key, b""))
    store.redis.zrem(store.partition.key(b"due"), store.bytes)
    store.change(due=-record[WALLET_FIELDS.index("due")])
    difference = only_difference(shared_stack, company)
    assert difference["words"] == "it has 2 live calls and nothing in the due set"


@contextlib.contextmanager
def no_flush(stack):
    """The cursors are locked: entries stay on their way."""
    with psycopg.connect(stack.url) as connection:
        connection.execute("select * from callgate.cursors for update")
        yield


def unflushed(stack):
    """A company with one entry in the ledger and three on their way, and its store."""
    client = stack.client
    company = client.funded(10_000_000)
    stack.wait_until_flushed(company)
    return company, Store(stack, company)


def charge(stack, company, micros=1_000):
    stack.client.charge(company, micros, durability=pb.DURABILITY_ACCEPTED)


def entries_of(store):
    """Ids of the company's entries in the stream."""
    return [entry_id for entry_id, fields in store.redis.xrange(store.partition.key(b"ledger"))
            if fields[b"e"][1:17] == store.bytes]


def test_what_is_on_its_way_counts(make_stack):
    stack = make_stack(partitions=1)
    company, store = unflushed(stack)
    with no_flush(stack):
        for _ in range(3):
            charge(stack, company)
        assert audit(stack)[1] == DONE
        posted = stack.client.balance(company).posted_micros
        assert posted == stack.ledger_balance(company) - 3_000

        ids = entries_of(store)
        store.redis.xdel(store.partition.key(b"ledger"), ids[-1])
        lost = only_difference(stack, company)
        assert lost["check"] == "missing", lost
        assert lost["words"] == ("the store has version 4; ledger and stream end at 3:"
                                 " the entries between are lost")
        store.redis.xdel(store.partition.key(b"ledger"), ids[-3])
        gap = only_difference(stack, company)
        assert gap["check"] == "stream_version" and "has version 3 where 2 comes next" in gap["words"]


def test_an_entry_that_begins_elsewhere_is_named(make_stack):
    stack = make_stack(partitions=1)
    company, store = unflushed(stack)
    with no_flush(stack):
        charge(stack, company)
        store.change(posted=5)
        charge(stack, company)
        difference = only_difference(stack, company)
        assert difference["check"] == "stream_balance", difference
        assert "begins at balance 9.999005 USD; before it there is 9.999000 USD" in difference["words"]


def test_a_record_that_is_gone_while_its_entries_wait_is_named(make_stack):
    stack = make_stack(partitions=1)
    company, store = unflushed(stack)
    with no_flush(stack):
        charge(stack, company)
        store.redis.delete(store.key)
        difference = only_difference(stack, company)
        assert difference["check"] == "absent" and "which the ledger lacks" in difference["words"]


def test_an_entry_that_cannot_be_read_is_named(make_stack):
    stack = make_stack(partitions=1)
    stack.client.funded(1_000_000)
    stack.redis.client.xadd("cg:{p0}:ledger", {"e": b"short"}, id=b"%d-*" % stack.value(
        "select epoch from callgate.cursors"))
    found, code = audit(stack)
    assert code == WRONG, found
    assert [d["check"] for d in found["differences"]] == ["entry"]
    assert found["differences"][0]["company_id"] is None
    assert "cannot be read" in found["differences"][0]["words"]


def test_a_wallet_that_the_ledger_lacks_is_named(make_stack):
    stack = make_stack(partitions=4)
    company = stack.client.funded(0)
    other = stack.client.funded(1_000)
    stack.client.authorize(company, "denied")
    stack.wait_until_flushed(other)
    assert audit(stack) == ({**audit(stack)[0], "wallets": 2, "differences": []}, DONE)
    stack.sql("delete from wallets where company_id = %s", [company])
    found, code = audit(stack)
    assert code == WRONG and found["wallets"] == 2, found
    assert [(d["company_id"], d["words"]) for d in found["differences"]] == [
        (company, "the ledger has no such wallet")]
    gone = Run(["audit", "--company", company], stack.environment())
    assert gone.code == NOT_FOUND, gone


def test_what_nobody_does_in_time_is_named(make_stack):
    """Without a sidecar nothing that is due is done; the store's clock goes on."""
    stack = make_stack(partitions=1, movable_clock=True)
    stack.add_plan("brief", longest_call_ms=60_000, guard_ms=1_000, ring_lease_ms=30_000)
    ringing, talking, idle = (stack.client.funded(10**9, plan_id="brief") for _ in range(3))
    stack.client.authorize(ringing, "ringing")
    stack.client.authorize(talking, "talking", start=True)
    stack.wait_until_flushed(ringing, talking, idle)
    stack.sidecar.kill()
    assert audit(stack)[1] == DONE
    stack.redis.set_clock_ahead(40_000)
    lease = only_difference(stack, ringing)
    assert lease["check"] == "lease_late", lease
    assert "the hold of call ringing has outlived its lease by 1" in lease["words"]
    assert audit(stack, "--company", talking)[1] == DONE
    stack.redis.set_clock_ahead(40_000)
    assert only_difference(stack, talking)["check"] == "due_late"
    stack.redis.set_clock_ahead(900_000)
    life = only_difference(stack, talking)
    assert life["check"] == "life_late" and "call talking has outlived" in life["words"]
    assert {d["check"] for d in audit(stack)[0]["differences"]} == {"lease_late", "life_late"}
    assert audit(stack, "--company", idle)[1] == DONE


def test_a_busy_system_has_no_difference(make_stack):
    """Two sidecars under load, and one that flushes slowly, so that much is on its way."""
    stack = make_stack(partitions=4, sidecars=2, directory=release_directory(), flush_interval_ms=200)
    stack.add_plan("busy", calls_max=1000)
    companies = [stack.client.funded(10**12, plan_id="busy") for _ in range(12)]
    load = Load([s.address for s in stack.sidecars], companies, 1_000_000, workers=8).start()
    try:
        wait_until(lambda: load.settled_count() > 100, 20)
        for _ in range(12):
            found, code = audit(stack)
            assert code == DONE and found["differences"] == [], found
            assert found["looked_at_again"] == 0 and found["not_compared"] == 0, found
    finally:
        load.halt()
        load.join()
    assert load.settled_count() > 300
    stack.wait_until_flushed(*companies)
    found, code = audit(stack)
    assert code == DONE
    assert found["entries"] == load.settled_count() + len(companies)
    since, code = audit(stack, "--since", "2020-01-01")
    assert code == DONE and since["entries"] == found["entries"]


def test_a_store_that_restarts_under_load_has_no_difference(make_stack):
    """Where a partition is being recovered the audit waits, or says that it was not compared."""
    stack = make_stack(partitions=4, sidecars=2, directory=release_directory())
    stack.add_plan("busy", calls_max=1000)
    companies = [stack.client.funded(10**12, plan_id="busy") for _ in range(8)]
    load = Load([s.address for s in stack.sidecars], companies, 1_000_000, workers=4).start()
    over, told = threading.Event(), []

    def look():
        while not over.is_set():
            told.append(Run(["audit", "--json"], stack.environment()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for turn in range(3):  # by this thread: its children end with it
            before = load.settled_count()
            wait_until(lambda: load.settled_count() > before + 50, 30)
            stack.redis.restart()
        wait_until(lambda: load.settled_count() > before + 100, 30)
    finally:
        over.set()
        looking.join()
        load.halt()
        load.join()
    assert all(run.code in (DONE, UNAVAILABLE) for run in told), [r for r in told if r.code not in (0, 4)]
    assert len(told) > 3
    wait_until(lambda: audit(stack)[1] == DONE, 30, "the audit is clean")


def test_without_a_sidecar_it_says_what_cannot_be_compared(make_stack):
    stack = make_stack(partitions=2)
    company = stack.client.funded(1_000_000)
    stack.wait_until_flushed(company)
    stack.sidecar.kill()
    assert audit(stack)[1] == DONE
    stack.redis.restart()
    found, code = audit(stack)
    assert code == DONE, found
    assert any("no sidecar has confirmed it" in note for note in found["notes"])
    stack.redis.client.flushall()
    found, code = audit(stack, "--timeout-ms", "300")
    assert code == UNAVAILABLE and found["not_compared"] == 1, found
    assert any("being recovered, or not in use: not compared" in note for note in found["notes"])


def test_addresses_and_rights(shared_stack, ledger):
    environment = shared_stack.environment()
    assert Run(["audit", "--redis-url", "unix:///nowhere/redis.sock"], environment).code == UNAVAILABLE
    assert Run(["audit", "--database-url", "host=/nowhere"], environment).code == UNAVAILABLE
    missing = Run(["audit", "--json"], {})
    assert missing.code == 2 and missing.error["field"] == "--redis-url"
    bad = Run(["audit", "--redis-url", "tcp://u:hunter2@h"], environment)
    assert bad.code == 2 and "hunter2" not in bad.err
    assert Run(["audit", "--company", COMPANY], environment).code == NOT_FOUND
    shared_stack.redis.client.execute_command("ACL", "SETUSER", "blind", "on", ">p", "~*", "+@all", "-hgetall",
                                              "-hmget")
    blind = Run(["audit", "--redis-url", f"{shared_stack.redis.url}?username=blind&password=p"], environment)
    assert blind.code == WRONG or blind.code == FORBIDDEN, blind
    wrong = Run(["audit", "--redis-url", f"{shared_stack.redis.url}?username=blind&password=q"], environment)
    assert wrong.code == FORBIDDEN, wrong
    fresh = Run(["audit", "--database-url", ledger.url], environment)
    assert fresh.code == UNAVAILABLE and "belongs to no deployment yet" in fresh.err, fresh
    shared_stack.sql("do $$ begin create role cli_reader login in role callgate_reader;"
                     " exception when duplicate_object then null; end $$")
    reader = shared_stack.url.replace("postgres@", "cli_reader@")
    company = shared_stack.client.funded(5)
    shared_stack.wait_until_flushed(company)
    assert Run(["audit", "--company", company, "--database-url", reader], environment).code == DONE


def test_a_store_without_the_functions_is_named(make_stack, ledger):
    stack = make_stack(partitions=1)
    stack.client.funded(5)
    stack.sidecar.kill()
    stack.redis.client.execute_command("FUNCTION", "FLUSH")
    told = Run(["audit"], stack.environment())
    assert told.code == INCOMPATIBLE and "no function library of this version" in told.err, told
