"""What the README shows works as it stands there.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import subprocess
import sys
import threading

from support.contract import compiled
from support.invariants import check_invariants
from support.processes import ROOT, build_directory
from support.waiting import wait_until


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text(),
                      re.M | re.S)


def environment(stack):
    return {**os.environ, **stack.environment(), "PYTHONPATH": str(compiled()),
            "PATH": f"{build_directory() / 'bin'}:{os.environ['PATH']}"}


def run(stack, *command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                          env=environment(stack))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_quick_start(stack):
    (script,) = [block for block in blocks("sh") if "callgate wallet create" in block]
    output = run(stack, "bash", "-euo", "pipefail", "-c", script)
    assert "wallet_transactions" in output
    check_invariants(stack)
    assert stack.value("select count(*) from usage_logs") == 1


def test_the_python_examples(stack):
    gate, session, _, health, _ = blocks("python")
    cost, ledger_id = run(stack, sys.executable, "-c", gate).split()
    assert int(cost) > 0 and stack.value(
        "select count(*) from wallet_transactions where entry_id = %s", [ledger_id]) == 1
    assert run(stack, sys.executable, "-c", health) == "True\n"
    for line in run(stack, sys.executable, "-c", session).splitlines():
        cost, ledger_id = line.split()
        wait_until(lambda i=ledger_id: stack.value("select count(*) from wallet_transactions where entry_id = %s",
                                                   [i]) == 1, 10)
        assert int(cost) > 0
    assert stack.value("select count(*) from usage_logs") == 6


def test_the_example_that_watches(make_stack):
    stack = make_stack(sidecars=2)
    here, there = stack.sidecars
    _, _, watch, _, _ = blocks("python")
    stack.add_plan("tests-readme", rate=(600_000, 0, 0, 1_000), cut_warning_ms=0)
    child = subprocess.Popen([sys.executable, "-c", watch], env=environment(stack),
                             stdout=subprocess.PIPE, text=True)
    patience = threading.Timer(60, child.kill)  # a line that never comes ends the reading
    patience.start()
    try:
        told = iter(child.stdout.readline, "")
        for n, sidecar in enumerate((there, here)):  # before and after a restart of the watched one
            company = there.client.funded(70_001, plan_id="tests-readme")
            if n == 1:
                here.restart()
            there.client.authorize(company, f"c{n}", start=True, reserve_ms=1)
            assert wait_until(lambda c=company: next(told).split()[:2] == ["EVENT_TYPE_CUT_OFF", c], 30)
            sidecar.client.settle(company, f"c{n}", 1_000)
    finally:
        patience.cancel()
        child.kill()
        child.wait()
