"""callgate-edge check: what would pass by the gate is found in the account (vendors.md D2, D9).

SPDX-License-Identifier: Apache-2.0
"""

import os
import subprocess

import pytest

SERVER = {"url": "https://gate.example/api/webhooks/vapi", "credentialId": "c",
          "backoffPlan": {"type": "exponential", "maxRetries": 10, "baseDelaySeconds": 2}}


def check(world):
    edge = world.edge
    words = [edge.process.command[edge.process.command.index("KILL") + 1], "check",
             *edge.process.command[edge.process.command.index("KILL") + 2:]]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, **edge.process.env})


def test_a_good_account_is_told_so(world):
    company, number = world.company()
    world.vapi.phone_numbers[number]["server"] = SERVER
    world.vapi.add_assistant("a1", serverMessages=["status-update", "end-of-call-report"])
    done = check(world)
    assert (done.returncode, done.stdout) == (0, "nothing passes by the gate\n"), done


@pytest.mark.parametrize("members, said", [
    ({"assistantId": "a1"}, "has a fixed assistant"), ({"squadId": "s"}, "has a fixed assistant"),
    ({"fallbackDestination": {"type": "number", "number": "+15550100999"}}, "fallbackDestination"),
    ({"server": {**SERVER, "backoffPlan": None}}, "does not retry"),
    ({"server": {**SERVER, "backoffPlan": {"maxRetries": 0}}}, "does not retry"),
    ({"server": {**SERVER, "url": "https://elsewhere.example/hook"}}, "server.url"),
    ({"server": {**SERVER, "url": "http://gate.example/api/webhooks/vapi"}}, "server.url"),
    ({"server": {"url": SERVER["url"], "backoffPlan": SERVER["backoffPlan"]}}, "no credential"),
    ({"server": None}, "server.url")])
def test_what_passes_by_is_told_by_number(world, members, said):
    company, number = world.company()
    world.vapi.phone_numbers[number].update({"server": SERVER, **members})
    done = check(world)
    assert done.returncode == 7 and f"number {number}: " in done.stdout and said in done.stdout, done


def test_numbers_and_assistants_that_are_not_ours(world):
    world.vapi.add_phone_number("pn-new", "+15550109999", server=SERVER)
    world.vapi.add_assistant("a1", server={"url": "https://elsewhere.example"}, serverMessages=["hang"])
    done = check(world)
    assert done.returncode == 7
    assert "number pn-new: is nobody's here" in done.stdout
    assert "assistant a1: its server.url" in done.stdout and "assistant a1: its serverMessages" in done.stdout


def test_a_provider_that_is_away_is_no_good_account(world):
    world.vapi.faults.fail("/phone-number", 500)
    done = check(world)
    assert done.returncode == 1 and "does not list its phone numbers" in done.stderr
