"""doctor: all is well on servers that are set right, and every check is seen failing.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import re
import signal
import uuid

import psycopg
import pytest

from cli_support import DONE, WARNED, WRONG, Run
from support.postgres_server import PostgresServer
from support.processes import ROOT
from support.redis_server import RedisServer
from support.rewriting import RewritingProxy
from support.stack import Stack
from support.waiting import wait_until
from support.wire import Partition

MANUAL = (ROOT / "docs" / "cli.md").read_text()


@pytest.fixture(scope="module")
def durable():
    """Set as it should be, small, and with a clock that a test can move."""
    server = PostgresServer(durable=True, movable_clock=True, max_connections=40)
    try:
        server.start()
        server.make_template()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def good(durable):
    """A stack on which nothing is wrong; a test leaves it so."""
    stack = Stack(durable, partitions=2, movable_clock=True).start()
    stack.redis.client.config_set("maxmemory", 1 << 30)
    stack.wait_until_flushed(stack.client.funded(10**9))
    yield stack
    complaints = stack.stop()
    assert not complaints, complaints


def examine(stack, *line, **environment):
    run = Run(["doctor", "--json", *line], {**stack.environment(), **environment})
    assert run.code in (DONE, WARNED, WRONG) and run.err == "", run
    return run.json, run.code


def check_of(stack, name, *line, **environment):
    """One check: its state, and all its words."""
    told, code = examine(stack, *line, **environment)
    checks = {check["name"]: check for check in told["checks"]}
    states = [check["state"] for check in told["checks"]]
    assert code == (WRONG if "error" in states else WARNED if "warning" in states else DONE)
    assert (told["errors"], told["warnings"]) == (states.count("error"), states.count("warning"))
    check = checks[name]
    assert (check["advice"] is None) == (check["state"] == "ok") or check["state"] == "unknown", check
    return check["state"], f"{check['found']} -> {check['advice']}"


def assert_only(stack, name, state, words, *line, also=None, **environment):
    """This check, and no other (but `also`, where one thing tells on two), is not well."""
    told, _ = examine(stack, *line, **environment)
    odd = {check["name"]: check["state"] for check in told["checks"] if check["state"] != "ok"}
    assert odd == {name: state, **(also or {})}, odd
    assert words in check_of(stack, name, *line, **environment)[1]


def test_where_all_is_well(good):
    told, code = examine(good)
    assert code == DONE, [check for check in told["checks"] if check["state"] != "ok"]
    people = Run(["doctor"], good.environment())
    assert people.code == DONE and people.err == "", people
    assert max(map(len, people.lines())) <= 100, people
    assert people.lines()[-1] == f"{len(told['checks'])} checks: 0 errors, 0 warnings"
    assert [line.split()[0] for line in people.lines()[:-1] if line[0] != " "] == ["ok"] * len(told["checks"])


def test_the_manual_lists_every_check(good):
    told, _ = examine(good)
    section = MANUAL.split("## callgate doctor")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([a-z-]+)` \|", section, re.M)
    assert listed == [check["name"] for check in told["checks"]]


@contextlib.contextmanager
def configured(stack, name, value):
    redis = stack.redis.client
    before = redis.config_get(name)[name]
    redis.config_set(name, value)
    try:
        yield
    finally:
        redis.config_set(name, before)
        if name == "appendonly":
            wait_until(lambda: redis.info("persistence")["aof_rewrite_in_progress"] == 0
                       and redis.info("persistence")["aof_enabled"] == 1)


@pytest.mark.parametrize("setting, value, name, state, words", [
    ("appendonly", "no", "store-aof", "error", "appendonly is no -> config set appendonly yes"),
    ("appendfsync", "no", "store-fsync", "error", "config set appendfsync everysec"),
    ("save", "3600 1", "store-snapshots", "warning", "stop-writes-on-bgsave-error no"),
    ("maxmemory-policy", "allkeys-lru", "store-eviction", "error", "config set maxmemory-policy noeviction"),
    ("maxmemory", "0", "store-memory", "warning", "maxmemory is not set"),
    ("min-replicas-to-write", "1", "store-replicas", "error", "every write is refused"),
])
def test_a_setting_of_the_store(good, setting, value, name, state, words):
    with configured(good, setting, value):
        assert_only(good, name, state, words)
    assert examine(good)[1] == DONE


def test_memory_that_is_nearly_full(good):
    used = good.redis.client.info("memory")["used_memory"]
    with configured(good, "maxmemory", int(used * 1.25)):
        assert check_of(good, "store-memory")[0] == "warning"
    with configured(good, "maxmemory", int(used * 1.02)):
        state, words = check_of(good, "store-memory")
        assert state == "error" and "raise maxmemory" in words


REWRITTEN_INFO = [
    ({"redis_version:7.0.15": "redis_version:6.2.15"}, "store-version", "error", "Redis 7.0 or later"),
    ({"cluster_enabled:0": "cluster_enabled:1"}, "store-cluster", "warning", "cluster mode is on"),
    ({"aof_last_write_status:ok": "aof_last_write_status:no"}, "store-aof-write", "error", "last write failed"),
    ({"aof_last_bgrewrite_status:ok": "aof_last_bgrewrite_status:no"}, "store-aof-write", "warning",
     "last rewrite failed"),
    ({"aof_delayed_fsync:0": "aof_delayed_fsync:9"}, "store-latency", "warning", "the disk is too slow"),
]


@pytest.mark.parametrize("words, name, state, told", REWRITTEN_INFO)
def test_what_the_store_says_of_itself(good, words, name, state, told):
    with RewritingProxy(good.redis.socket, "redis.sock", words) as proxy:
        also = {"store-aof-torn": "warning"} if told == "last rewrite failed" else None
        assert_only(good, name, state, told, also=also, CALLGATE_REDIS_URL=f"unix://{proxy.path}")
        assert proxy.rewritten > 0


def test_a_snapshot_that_failed_where_it_stops_writes(good):
    with configured(good, "save", "3600 1"), \
            RewritingProxy(good.redis.socket, "redis.sock",
                           {"rdb_last_bgsave_status:ok": "rdb_last_bgsave_status:no"}) as proxy:
        assert_only(good, "store-snapshots", "error", "last snapshot failed",
                    CALLGATE_REDIS_URL=f"unix://{proxy.path}")


def test_a_file_that_may_be_torn(good):
    """No sidecar has met this server, and asked for what it asks for."""
    store = RedisServer().start()
    try:
        def torn():
            return check_of(good, "store-aof-torn", CALLGATE_REDIS_URL=store.url)

        state, words = torn()
        assert state == "warning" and "aof-load-truncated is yes -> bgrewriteaof, before" in words
        store.client.config_set("aof-load-truncated", "no")
        assert torn()[0] == "ok"
        store.client.config_set("aof-load-truncated", "yes")
        store.client.bgrewriteaof()
        wait_until(store.is_rewritten, 20)
        assert torn()[0] == "ok"
    finally:
        store.stop()


def test_a_replica_and_its_master(good):
    replica = RedisServer()
    master = RedisServer()
    master.process.command += ["--port", "0"]
    # A replica wants a port: the pair listens on one of the loopback's, the good one does not.
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    master.process.command[-1] = str(port)
    master.process.command += ["--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
    try:
        master.start()
        replica.start()
        replica.client.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", 20)
        assert check_of(good, "store-role", CALLGATE_REDIS_URL=replica.url) == (
            "error", "role slave -> give the master's address: a replica takes no writes")
        state, words = check_of(good, "store-replicas", CALLGATE_REDIS_URL=master.url)
        assert state == "warning" and "config set min-replicas-to-write 1" in words
        assert check_of(good, "store-lag", CALLGATE_REDIS_URL=master.url)[0] == "ok"
        master.client.config_set("min-replicas-to-write", 1)
        wait_until(lambda: check_of(good, "store-replicas", CALLGATE_REDIS_URL=master.url)[0] == "ok", 15)
        with RewritingProxy(master.socket, "redis.sock", {"state=online": "state=waitin"}) as proxy:
            state, words = check_of(good, "store-lag", CALLGATE_REDIS_URL=f"unix://{proxy.path}")
            assert state == "warning" and words.startswith("1 of 1 replicas")
        replica.process.signal(signal.SIGKILL)
        wait_until(lambda: check_of(good, "store-replicas", CALLGATE_REDIS_URL=master.url)[0] == "error", 15)
        # It has no function library either, and belongs to no deployment.
        state, words = check_of(good, "store-library", CALLGATE_REDIS_URL=master.url)
        assert state == "error" and "start a sidecar of this version" in words
        assert check_of(good, "deployment", CALLGATE_REDIS_URL=master.url)[0] == "unknown"
    finally:
        replica.stop()
        master.stop()


def test_a_library_that_is_old(good):
    redis = good.redis.client
    redis.execute_command("FUNCTION", "LOAD", "#!lua name=callgate_v0\nredis.register_function('cg0_x',"
                          " function() return 1 end)")
    assert_only(good, "store-library", "warning", "others: callgate_v0 -> once no sidecar of that version runs")
    redis.execute_command("FUNCTION", "DELETE", "callgate_v0")


def test_a_user_that_lacks_rights(good):
    redis = good.redis.client
    redis.execute_command("ACL", "SETUSER", "poor", "reset", "on", ">p", "~*", "&*", "+@all", "-hset", "-xadd")
    url = f"{good.redis.url}?username=poor&password=p"
    assert_only(good, "store-user", "error", "user poor lacks HSET XADD", CALLGATE_REDIS_URL=url)
    redis.execute_command("ACL", "SETUSER", "poor", "+@all", "-config", "-acl")
    told, code = examine(good, CALLGATE_REDIS_URL=url)
    assert code == DONE
    assert {check["name"] for check in told["checks"] if check["state"] == "unknown"} == {
        "store-fsync", "store-snapshots", "store-user"}
    redis.execute_command("ACL", "SETUSER", "poor", "-info")
    assert check_of(good, "store-info", CALLGATE_REDIS_URL=url)[0] == "error"
    state, words = check_of(good, "store-reachable", CALLGATE_REDIS_URL=f"{good.redis.url}?username=poor&password=q")
    assert state == "error" and "WRONGPASS" in words and "password=q" not in words
    redis.execute_command("ACL", "DELUSER", "poor")


def test_a_slow_command(good):
    good.redis.client.eval("local n = 0 for i = 1, 2e7 do n = n + i end return n", 0)
    assert_only(good, "store-latency", "warning", "1 commands above 50 ms")
    good.redis.client.slowlog_reset()


def test_servers_that_are_not_there(good):
    state, _ = check_of(good, "store-reachable", CALLGATE_REDIS_URL="unix:///nowhere/redis.sock")
    assert state == "error"
    state, words = check_of(good, "ledger-reachable", CALLGATE_DATABASE_URL="host=/nowhere")
    assert state == "error" and "out of reach" in words
    assert check_of(good, "sidecar", CALLGATE_ADDRESS="unix:/nowhere/callgated.sock")[0] == "error"
    assert check_of(good, "sidecar", CALLGATE_ADDRESS="")[0] == "unknown"
    assert check_of(good, "sidecar", CALLGATE_ADDRESS="not an address")[0] == "error"


@contextlib.contextmanager
def changed(stack, there, back):
    stack.sql(there)
    try:
        yield
    finally:
        stack.sql(back)


IN_POSTGRES = [
    ("alter database {database} set default_transaction_read_only = on",
     "set default_transaction_read_only = off; alter database {database} reset default_transaction_read_only",
     "ledger-writable", "error", "transactions are read-only"),
    ("alter role callgated set synchronous_commit = off", "alter role callgated reset synchronous_commit",
     "ledger-durability", "error", "off or local for: callgated"),
    ("delete from supabase_migrations.schema_migrations where version = '20261122110000'",
     "insert into supabase_migrations.schema_migrations (version, name) values ('20261122110000',"
     " 'callgate_corrections')",
     "ledger-migrations", "error", "the first that is missing is 20261122110000 -> run `callgate migrate`"),
    ("insert into supabase_migrations.schema_migrations (version, name) values ('29990101000000', 'callgate_x')",
     "delete from supabase_migrations.schema_migrations where version = '29990101000000'",
     "ledger-migrations", "warning", "unknown is 29990101000000 -> the schema is newer than this command"),
    ("alter role callgated bypassrls", "alter role callgated nobypassrls", "ledger-roles", "error",
     "too mighty: callgated"),
    ("revoke execute on function callgate.wallet_read(uuid) from callgate_sidecar",
     "grant execute on function callgate.wallet_read(uuid) to callgate_sidecar",
     "ledger-grants", "error", "sidecars may not use callgate_sidecar: wallet_read, callgated: wallet_read"),
    ("grant update on wallets to callgate_sidecar", "revoke update on wallets from callgate_sidecar",
     "ledger-grants", "error", "sidecars may write callgate_sidecar: wallets"),
    ("alter table usage_logs disable trigger append_only", "alter table usage_logs enable trigger append_only",
     "ledger-append-only", "error", "rows can be changed in public.usage_logs"),
    ("drop trigger append_only on callgate.keys",
     "create trigger append_only before update or delete or truncate on callgate.keys"
     " for each statement execute function callgate.append_only()",
     "ledger-append-only", "error", "rows can be changed in callgate.keys"),
    ("insert into callgate.quarantine (kind, entry_id, company_id, version, type, amount_micros,"
     " balance_after_micros, at_ms, reason) values ('wallet', '0-0-1', gen_random_uuid(), 1, 'bonus', 1, 1, 1, 'r')",
     "delete from callgate.quarantine", "quarantine", "error", "1 entries of 1 wallets wait"),
    ("insert into callgate.quarantine (kind, entry_id, company_id, version, type, amount_micros,"
     " balance_after_micros, at_ms, reason) values ('payload', '0-0-1', gen_random_uuid(), 1, 'bonus', 1, 1, 1, 'r')",
     "delete from callgate.quarantine", "quarantine", "warning", "1 texts were taken away"),
    ("insert into callgate.receipts (company_id, type, reference_id, amount_micros, created_at) values"
     " (gen_random_uuid(), 'bonus', 'r', 1, now() - interval '1 min')", "delete from callgate.receipts"
     " where reference_id = 'r'", "receipts", "warning", "1 receipts wait"),
    ("insert into callgate.receipts (company_id, type, reference_id, amount_micros, created_at) values"
     " (gen_random_uuid(), 'bonus', 'r', 1, now() - interval '1 hour')", "delete from callgate.receipts"
     " where reference_id = 'r'", "receipts", "error", "sidecars apply receipts"),
    ("grant callgate_sidecar to callgate_edged", "revoke callgate_sidecar from callgate_edged",
     "edge-role", "error", "too mighty: callgate_edged -> give the edge a login of its own"),
    ("grant delete on usage_logs to callgate_edge", "revoke delete on usage_logs from callgate_edge",
     "edge-role", "error", "too mighty: callgate_edge callgate_edged"),
    ("alter role callgate_edged createrole", "alter role callgate_edged nocreaterole",
     "edge-role", "error", "too mighty: callgate_edged"),
    ("insert into callgate.edge_reviews (call_id, what, created_at) values ('c', 'over_grant', now() - interval '1 h'),"
     " ('c', 'waived', now())", "delete from callgate.edge_reviews", "edge-reviews", "warning",
     "2 calls are to be reviewed, the oldest for 36"),
    ("insert into callgate.orphans values (0, '0-0-1', gen_random_uuid(), 1, 'bonus', 1, 1, 1, '', 2)",
     "delete from callgate.orphans", "orphans", "warning", "a history of the store was given up"),
]


@pytest.mark.parametrize("there, back, name, state, words", IN_POSTGRES)
def test_what_is_wrong_in_the_ledger(good, there, back, name, state, words):
    with changed(good, there.format(database=good.database), back.format(database=good.database)):
        assert_only(good, name, state, words)
    assert examine(good)[1] == DONE


def said_to_postgres(folder):
    """What the sources there name in the schema, outside of comments: functions, and tables."""
    sources = [path.read_text() for path in (ROOT / "src" / folder).glob("*.c")]
    statements = re.sub(r"/\*.*?\*/", "", "\n".join(sources), flags=re.S)
    functions = set(re.findall(r"callgate\.([a-z_]+)\(", statements))
    return functions, set(re.findall(r"from callgate\.([a-z_]+)\b(?!\()", statements)) - functions


@pytest.mark.parametrize("folder, group, login, check, who, some", [
    ("ledger", "callgate_sidecar", "callgated", "ledger-grants", "sidecars", {"flush", "turn_take", "plans", "rates"}),
    ("edge/store", "callgate_edge", "callgate_edged", "edge-role", "the edge", {"edge_event_take", "edge_calls_due"})])
def test_every_grant_that_is_needed(good, folder, group, login, check, who, some):
    """In a ledger that nobody uses: each right is taken away from the group alone, and missed."""
    server = good.postgres
    database = server.new_database()
    functions, tables = said_to_postgres(folder)
    assert some < functions | tables and tables == some & {"plans", "rates"}
    try:
        with psycopg.connect(server.url(database), autocommit=True) as connection:
            url = server.url(database)
            assert check_of(good, check, CALLGATE_DATABASE_URL=url)[0] == "ok"
            for name in sorted(functions | tables):
                if name in tables:
                    rights = [f"select on callgate.{name}"]
                else:
                    rights = [f"execute on function {row[0]}" for row in connection.execute(
                        "select oid::regprocedure from pg_proc where pronamespace = 'callgate'::regnamespace"
                        " and proname = %s", (name,))]
                assert rights, name
                for right in rights:
                    connection.execute(f"revoke {right} from {group}")
                state, words = check_of(good, check, CALLGATE_DATABASE_URL=url)
                assert (state, set(words.split(" -> ")[0].removeprefix(f"{who} may not use ").split(", "))) == (
                    "error", {f"{group}: {name}", f"{login}: {name}"}), words
                for right in rights:
                    connection.execute(f"grant {right} to {group}")
            assert check_of(good, check, CALLGATE_DATABASE_URL=url)[0] == "ok"
    finally:
        server.drop_database(database)


def test_no_role_for_sidecars(good):
    """Sidecars that are connected lose their rights too; they have them back at once."""
    with changed(good, "revoke callgate_sidecar from callgated", "grant callgate_sidecar to callgated"):
        state, words = check_of(good, "ledger-roles")
        assert state == "warning" and "in role callgate_sidecar" in words
    wait_until(lambda: examine(good)[1] == DONE, 20)


def test_a_server_that_is_not_durable(good, postgres):
    database = postgres.new_database()
    state, words = check_of(good, "ledger-durability", CALLGATE_DATABASE_URL=postgres.url(database))
    assert state == "error" and words.startswith("fsync off, full_page_writes off, synchronous_commit on")
    assert check_of(good, "deployment", CALLGATE_DATABASE_URL=postgres.url(database)) == (
        "warning", "the ledger belongs to none yet -> start a sidecar: the first one makes it")
    postgres.drop_database(database)


def test_connections_that_run_out(good):
    used = good.value("select count(*) from pg_stat_activity where backend_type = 'client backend'")
    with contextlib.ExitStack() as stack:
        for _ in range(34 - used):
            stack.enter_context(contextlib.closing(psycopg.connect(good.url)))
        assert_only(good, "ledger-connections", "warning", "of 40 connections are used")


REWRITTEN_ROWS = [
    ({'"version" : 15': '"version" : 14'}, "ledger-version", "error", "Postgres 15 or later"),
    ({'"is_standby" : false': '"is_standby" : true '}, "ledger-writable", "error", "it is a standby"),
    ({'"late_standbys" : 0': '"late_standbys" : 2'}, "ledger-standbys", "warning", "2 of them more than 10 s behind"),
]


@pytest.mark.parametrize("words, name, state, told", REWRITTEN_ROWS)
def test_what_the_ledger_says_of_itself(good, words, name, state, told):
    with RewritingProxy(good.postgres.directory / ".s.PGSQL.5432", ".s.PGSQL.5432", words) as proxy:
        assert_only(good, name, state, told, CALLGATE_DATABASE_URL=
                    f"postgresql://postgres@/{good.database}?host={proxy.directory}&port=5432")
        assert proxy.rewritten > 0


def test_a_reader_is_told_what_it_may_not_ask(good):
    good.sql("do $$ begin create role cli_operator login in role callgate_operator;"
             " exception when duplicate_object then null; end $$")
    told, code = examine(good, CALLGATE_DATABASE_URL=good.url.replace("postgres@", "cli_operator@"))
    assert code == DONE, told
    assert {check["name"] for check in told["checks"] if check["state"] == "unknown"} == {"ledger-migrations"}


def test_another_deployment(good):
    mine = good.value("select id from callgate.deployment")
    with changed(good, f"update callgate.deployment set id = '{uuid.uuid4()}'",
                 f"update callgate.deployment set id = '{mine}'"):
        assert_only(good, "deployment", "error", "2 of another -> this store belongs to another ledger")
    with changed(good, "update callgate.deployment set partitions = 1",
                 "update callgate.deployment set partitions = 2"):
        assert check_of(good, "deployment")[0] == "error"


@pytest.mark.parametrize("ahead_ms, state", [(1_200, "warning"), (3_000, "error"), (-3_000, "error")])
def test_a_ledgers_clock(good, ahead_ms, state):
    good.postgres.clock.set(ahead_ms)
    try:
        told, _ = examine(good)
        states = {check["name"]: check["state"] for check in told["checks"]}
        assert [states[name] for name in ("clock-store", "clock-ledger", "clock-between")] == ["ok", state, state]
    finally:
        good.postgres.clock.set(0)


def test_a_store_that_nobody_serves(durable):
    """The sidecar is gone: its partitions, its entries and what is due wait; the store's clock goes on."""
    stack = Stack(durable, partitions=1, movable_clock=True).start()
    try:
        stack.add_plan("brief", ring_lease_ms=30_000)
        company = stack.client.funded(10**9, plan_id="brief")
        stack.client.authorize(company, "ringing")
        stack.wait_until_flushed(company)
        stack.sidecar.kill()
        assert check_of(stack, "sidecar")[0] == "error"
        epoch = stack.value("select epoch from callgate.cursors")
        Partition(stack.redis.client, 0, epoch).charge(uuid.UUID(company).bytes, 5, "late")
        assert check_of(stack, "flush")[0] == "ok"
        stack.redis.set_clock_ahead(1_200)
        assert [check_of(stack, name)[0] for name in ("clock-store", "clock-between")] == ["warning"] * 2
        stack.redis.set_clock_ahead(18_800)
        state, words = check_of(stack, "flush")
        assert state == "warning" and words.startswith("1 entries wait, the oldest for 2"), words
        assert check_of(stack, "clock-store")[0] == "error"
        assert check_of(stack, "due-work")[0] == "ok"
        stack.redis.set_clock_ahead(50_000)
        assert check_of(stack, "flush")[0] == "error"
        state, words = check_of(stack, "due-work")
        assert state == "error" and "nobody is cut off" in words

        assert check_of(stack, "partitions")[0] == "ok"
        stack.redis.restart()
        state, words = check_of(stack, "partitions")
        assert state == "warning" and "1 not confirmed since the store restarted" in words
        stack.sql("update callgate.cursors set epoch = epoch + 1")
        state, words = check_of(stack, "partitions")
        assert state == "error" and words.startswith("1 are being recovered")
        stack.sql("update callgate.cursors set epoch = epoch - 1, last_n = last_n + 1000000000000")
        state, words = check_of(stack, "partitions")
        assert state == "error" and "1 behind the ledger" in words
    finally:
        stack.stop()
