"""What the README shows works as it stands there.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import subprocess
import sys

from support.contract import compiled
from support.invariants import check_invariants
from support.processes import ROOT, build_directory


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text(),
                      re.M | re.S)


def run(stack, *command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={
        **os.environ, **stack.environment(), "PYTHONPATH": str(compiled()),
        "PATH": f"{build_directory() / 'bin'}:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_quick_start(stack):
    (script,) = [block for block in blocks("sh") if "callgate wallet create" in block]
    output = run(stack, "bash", "-euo", "pipefail", "-c", script)
    assert "wallet_transactions" in output
    check_invariants(stack)
    assert stack.value("select count(*) from usage_logs") == 1


def test_the_python_examples(stack):
    gate, health = blocks("python")
    cost, ledger_id = run(stack, sys.executable, "-c", gate).split()
    assert int(cost) > 0 and stack.value(
        "select count(*) from wallet_transactions where entry_id = %s", [ledger_id]) == 1
    assert run(stack, sys.executable, "-c", health) == "True\n"
