"""What docs/operations.md says: its drills as they stand there, and that it names every alarm.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import shutil
import subprocess

from support.contract import pb
from support.invariants import check_invariants
from support.processes import ROOT, build_directory
from support.waiting import wait_until

PAGE = (ROOT / "docs" / "operations.md").read_text()


def drill(stack, name, directory):
    """Runs the page's block of this name."""
    (script,) = re.findall(rf"^```sh {name}\n(.*?)^```$", PAGE, re.M | re.S)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120,
        check=False, cwd=directory,
        env={**os.environ, **stack.environment(),
             "PATH": f"{build_directory() / 'bin'}:/usr/lib/postgresql/15/bin:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def live(stack, companies, first):
    """A few calls charged COMMITTED and a credit each; what must be there for ever."""
    for n, company in enumerate(companies):
        call = f"call-{first + n}"
        stack.client.authorize(company, call, start=True)
        stack.client.settle(company, call, 61_000, durability=pb.DURABILITY_COMMITTED)
        stack.client.credit(company, 1_000, f"pay-{first + n}-{company}")


def check(stack, companies, count, directory):
    check_invariants(stack)
    assert "0 differences" in drill(stack, "audit", directory)
    for company in companies:
        assert stack.value("select count(*) from wallet_transactions where company_id = %s",
                           [company]) == count


def test_the_ledger_is_backed_up_and_restored(make_stack, tmp_path):
    """What was flushed after the backup comes again out of the store."""
    stack = make_stack(sidecars=2)
    companies = [stack.client.funded(50_000_000) for _ in range(4)]
    live(stack, companies, 0)
    drill(stack, "drill-1", tmp_path)
    live(stack, companies, 100)
    for sidecar in stack.sidecars:
        sidecar.terminate()
    if stack.connection is not None:  # a database that is in use is not renamed
        stack.connection.close()
    drill(stack, "drill-2", tmp_path)
    for sidecar in stack.sidecars:
        sidecar.start()
    check(stack, companies, 5, tmp_path)
    stack.sql("select 1")
    stack.postgres.drop_database(f"{stack.database}_old")


def test_the_store_is_backed_up_and_restored(make_stack, tmp_path):
    stack = make_stack(sidecars=2)
    companies = [stack.client.funded(50_000_000) for _ in range(4)]
    stack.client.authorize(companies[0], "runs-on", start=True)
    live(stack, companies, 0)
    drill(stack, "drill-3", tmp_path)
    live(stack, companies, 100)
    stack.redis.kill()
    shutil.rmtree(stack.redis.directory / "appendonlydir")
    shutil.copytree(tmp_path / "store.backup", stack.redis.directory / "appendonlydir")
    stack.redis.start()
    check(stack, companies, 5, tmp_path)
    assert [call.call_id for call in stack.client.live_calls()] == ["runs-on"]


def test_the_store_is_given_up(make_stack, tmp_path):
    stack = make_stack(sidecars=2)
    companies = [stack.client.funded(50_000_000) for _ in range(4)]
    live(stack, companies, 0)
    stack.wait_until_flushed(*companies)
    drill(stack, "drill-4", tmp_path)
    wait_until(lambda: all(sidecar.client.is_serving() for sidecar in stack.sidecars), 20,
               "the store is filled again")
    check(stack, companies, 3, tmp_path)


def logged_as_alarm():
    """Every text that the sidecar's sources log at WARN or ERROR."""
    for path in (ROOT / "src").rglob("*.c"):
        source = path.read_text()
        for call in re.findall(r"cg_log\(\s*[^;]*?CG_LOG_(?:WARN|ERROR)(.*?);", source, re.S):
            # The first texts, before the fields: one, or both sides of a condition.
            head = re.split(r',\s*"[a-z_]+",|, NULL', call, maxsplit=1)[0]
            yield from re.findall(r'"((?:[^"\\]|\\.)+)"', head)
        # What the doors refuse, in a table of its own.
        yield from re.findall(r'\[CG_REFUSAL_\w+\] =\s*"([^"]+)"', source)
        for call in re.findall(r"\b(?:alarm|cg_recovery__refuse)\(\s*(?:lane->)?part,\s*\"([^\"]+)\"", source):
            yield call


def test_every_alarm_is_on_the_page():
    texts = set(logged_as_alarm())
    assert len(texts) > 30, texts
    missing = sorted(text for text in texts if f"{text}" not in PAGE)
    assert not missing, missing
