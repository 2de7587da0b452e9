"""Hostile traffic against two sidecars: nothing overspent, leaked, charged twice or left uncut.

SPDX-License-Identifier: Apache-2.0
"""

import json
import subprocess

import pytest

from support.invariants import check_invariants
from support.processes import program

# Long talks on little money: most calls that are admitted are cut off.
HABITS = ["--companies", "40", "--rate", "60", "--talk", "10", "--ring-ms", "800",
          "--reserve-ms", "1500", "--late", "10%", "--lost", "5%", "--topup", "4",
          "--topup-micros", "20000", "--json"]


def simulate(stack, *flags, seconds=15):
    """The report, whatever it says; the simulator must at least come to its end."""
    addresses = [flag for sidecar in stack.sidecars for flag in ("--address", sidecar.address)]
    done = subprocess.run([program("callgate-sim"), *addresses, "--for", str(seconds), *HABITS,
                           *flags], capture_output=True, text=True, timeout=seconds + 150)
    assert done.stdout, f"exit {done.returncode}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == report["sound"], done.stderr
    report["said"] = done.stderr
    return report


def check_sound(report):
    assert not any(report["faults"].values()), (report["faults"], report["said"])
    assert report["overspent_micros"] == 0
    assert report["leaked_micros"] == 0 and report["leaked_calls"] == 0
    # Otherwise nothing was put to the test.
    assert report["decisions"]["denied_insufficient_funds"] > 0
    assert report["cut_offs"] > 20 and report["warnings"] > 0
    assert report["settled"] > 50 and report["copies"] > 20
    assert report["late_starts"] > 0 and report["lost_settles"] > 0


@pytest.fixture
def two(make_stack):
    """Two sidecars, and a plan whose leases end while the simulation runs."""
    stack = make_stack(sidecars=2)
    stack.add_plan("brisk", ring_lease_ms=8000, cut_warning_ms=2000)
    return stack


def test_honest_traffic_overspends_and_leaks_nothing(two, is_long):
    report = simulate(two, "--plan", "brisk", "--seed", "11", "--silent", "5%",
                      seconds=300 if is_long else 12)
    check_sound(report)
    assert report["leases_over"] > 0 and report["expired"] > 0
    check_invariants(two)


def test_a_sidecar_killed_in_the_middle_costs_nothing(two):
    report = simulate(two, "--plan", "brisk", "--seed", "12", "--kill", "3", seconds=8)
    assert not two.sidecars[1].process.is_alive()
    check_sound(report)
    assert report["retries"] > 0
    check_invariants(two)


def test_what_drops_a_premise_is_seen_and_stays_with_its_own_company(two):
    report = simulate(two, "--plan", "brisk", "--seed", "13", "--hostile", "full", "--talk", "20")
    assert report["excused_micros"] > 0, "a deaf call must cost somebody, else the sim is blind"
    assert not any(report["faults"].values()), (report["faults"], report["said"])


def test_talks_that_end_after_the_guard_are_seen_to_overspend(two):
    report = simulate(two, "--plan", "brisk", "--seed", "13", "--talk", "20",
                      "--reaction-ms", "15000")
    assert report["faults"]["overspent"] > 0 and not report["sound"], "the sim is blind"
    assert report["overspent_micros"] >= report["overspent_max_micros"] > 0


def test_the_same_seed_is_the_same_traffic(two):
    flags = ["--plan", "brisk", "--seed", "14", "--topup-micros", "20000000"]
    first, second = (simulate(two, *flags, seconds=3) for _ in range(2))
    assert first["calls"] == second["calls"] and first["credits"] == second["credits"]


@pytest.mark.parametrize("flags", [
    ["--late", "51%"], ["--hostile", "some"], ["--kill", "3"], ["--rate", "0"], ["left-over"]])
def test_what_cannot_be_is_refused(flags):
    done = subprocess.run([program("callgate-sim"), "--address", "unix:/nowhere", *flags],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "callgate-sim: " in done.stderr
