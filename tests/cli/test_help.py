"""What the command says of itself, and that the manual has all of it.

SPDX-License-Identifier: Apache-2.0
"""

import re

import pytest

from cli_support import DONE, USAGE, Run
from support.processes import ROOT

COMMANDS = ["migrate", "plan list", "plan show", "plan set", "rate list", "rate import",
            "wallet create", "wallet show", "wallet freeze", "wallet unfreeze", "wallet plan",
            "wallet threshold", "balance", "credit", "charge", "authorize", "start", "stop",
            "settle", "cancel", "adopt", "calls", "explain", "watch", "shadow", "margin", "audit",
            "doctor", "quarantine list", "quarantine retry", "quarantine dismiss", "token", "demo",
            "version"]
MANUAL = (ROOT / "docs" / "cli.md").read_text()


def test_help_lists_every_command():
    told = Run(["help"])
    assert told.code == DONE
    listed = re.findall(r"^  (\w+(?: \w+)?)  +\w", told.out, re.M)
    assert listed == [*COMMANDS, "help"]
    assert Run(["--help"]).out == told.out
    nothing = Run([])
    assert (nothing.code, nothing.out, nothing.err) == (USAGE, "", told.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_flags(command):
    told = Run([*command.split(), "--help"])
    assert told.code == DONE and told.err == "", told
    assert told.out == Run(["help", *command.split()]).out
    assert told.out.startswith(f"usage: callgate {command}")
    assert max(map(len, told.lines())) <= 100
    for flag in re.findall(r"^  (--[a-z-]+|[A-Z_]+\b)", told.out, re.M):
        assert flag in MANUAL, f"docs/cli.md does not know {flag} of {command}"
    assert f"callgate {command}" in MANUAL


def test_a_family_lists_its_commands():
    told = Run(["wallet", "--help"])
    assert told.code == DONE
    assert "wallet freeze" in told.out and "plan list" not in told.out


def test_every_exit_code_is_documented():
    for code in range(9):
        assert re.search(rf"^\| {code} \|", MANUAL, re.M)
