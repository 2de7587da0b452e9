"""./dev up and down: from nothing to a gated call, again without harm, and repairing.  ./dev test:
what is ended leaves nothing behind.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg
import pytest

from support.client import Client
from support.processes import ROOT, release_directory
from support.waiting import wait_until

PARTS = ["redis", "postgres", "callgated-1", "callgated-2"]


class Dev:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.environment = {**os.environ, "CALLGATE_DEV_DIR": str(directory),
                            "CALLGATE_DEV_SIDECARS": "2",
                            "CALLGATE_DEV_PRESET": release_directory().name}

    def run(self, *arguments):
        began = time.monotonic()
        done = subprocess.run([ROOT / "dev", *arguments], env=self.environment, cwd="/",
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, time.monotonic() - began

    def exports(self):
        output, _ = self.run("env")
        return dict(re.findall(r"^export (CALLGATE_\w+)='([^']*)'$", output, re.M))

    def pids(self):
        return {part: int((self.directory / f"{part}.pid").read_text().split()[0])
                for part in PARTS}

    def is_whole(self):
        exports = self.exports()
        with Client(exports["CALLGATE_ADDRESS"]) as client:
            return client.is_serving(timeout=5) and all(map(is_alive, self.pids().values()))

    def calls_in_ledger(self):
        with psycopg.connect(self.exports()["CALLGATE_DATABASE_URL"]) as connection:
            return connection.execute("select count(*) from usage_logs").fetchone()[0]


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture(scope="module")
def dev():
    directory = tempfile.mkdtemp(prefix="cg-dev-", dir="/tmp")
    os.chmod(directory, 0o755)
    made = Dev(directory)
    try:
        made.run("up")
        yield made
    finally:
        made.run("down", "--wipe")
        shutil.rmtree(directory, ignore_errors=True)


def test_up_ends_with_a_gated_call_in_the_ledger(dev):
    assert dev.is_whole()
    assert dev.calls_in_ledger() >= 1


def test_up_again_leaves_alone_what_lives_and_is_quick(dev):
    pids, calls = dev.pids(), dev.calls_in_ledger()
    output, seconds = dev.run("up")
    assert dev.pids() == pids
    assert seconds < 10
    assert dev.calls_in_ledger() == calls + 1
    assert "usage" in output, "the ledger row is shown"


@pytest.mark.parametrize("part", PARTS)
def test_what_died_is_started_again(dev, part):
    pids, calls = dev.pids(), dev.calls_in_ledger()
    os.kill(pids[part], signal.SIGKILL)
    wait_until(lambda: not is_alive(pids[part]), 10)
    dev.run("up")
    now = dev.pids()
    assert now[part] != pids[part]
    assert {p: now[p] for p in PARTS if p != part} == {p: pids[p] for p in PARTS if p != part}
    assert dev.is_whole() and dev.calls_in_ledger() == calls + 1


def test_a_pid_file_that_names_a_stranger_harms_nobody(dev):
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        file = dev.directory / "callgated-2.pid"
        was = dev.pids()["callgated-2"]
        os.kill(was, signal.SIGTERM)
        wait_until(lambda: not is_alive(was), 30)
        file.write_text(" ".join([str(stranger.pid), *file.read_text().split()[1:]]) + "\n")
        dev.run("up")
        assert stranger.poll() is None and dev.is_whole()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_socket_that_was_taken_away_is_made_again(dev):
    address = dev.exports()["CALLGATE_ADDRESS"].removeprefix("unix:")
    os.unlink(address)
    dev.run("up")
    assert dev.is_whole()


def test_down_ends_what_up_started_and_up_finds_the_ledger_again(dev):
    pids, calls = dev.pids(), dev.calls_in_ledger()
    dev.run("down")
    assert not any(map(is_alive, pids.values()))
    dev.run("down")  # again is harmless
    dev.run("up")
    assert dev.calls_in_ledger() == calls + 1


ENDLESS = """
import os, pathlib, subprocess, time
def test_that_goes_on():
    child = subprocess.Popen(["sleep", "300"])
    note = pathlib.Path(__file__).with_name(f"{os.getpid()}.pids")
    note.with_suffix(".new").write_text(f"{os.getppid()} {os.getpid()} {child.pid}")
    note.with_suffix(".new").rename(note)
    time.sleep(300)
"""
# The layers of ./dev test, but for what they run.
LANES = """
set -euo pipefail
. tools/dev/common.sh
. tools/dev/test.sh
CG_RESULTS="$1" CG_LANES=(one two) CG_LAYERS=(one two)
: >"$CG_RESULTS/all"
run_layer() { layer_pytest "$1" "$CG_RESULTS"; }
run_lanes
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_test_run_that_is_ended_leaves_nothing_behind(tmp_path, how):
    (tmp_path / "test_endless.py").write_text(ENDLESS)
    # A child of a shell in the background would ignore SIGINT; so may whoever runs this.
    script = subprocess.Popen(["/usr/bin/env", "--default-signal=INT,HUP,TERM", "bash", "-c", LANES, "lanes",
                               tmp_path], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pids"))) == 2, 60)
        begun = [int(pid) for note in tmp_path.glob("*.pids") for pid in note.read_text().split()]
        assert len(begun) == 6 and all(map(is_alive, begun))
        script.send_signal(how)
        script.wait(20)
        wait_until(lambda: not any(map(is_alive, begun)), 20)
    finally:
        for pid in [int(pid) for note in tmp_path.glob("*.pids") for pid in note.read_text().split()]:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        script.kill()
        script.wait()
