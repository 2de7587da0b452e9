"""./dev up and ./dev call: a newcomer's first call, through the stand-in.

SPDX-License-Identifier: Apache-2.0
"""

import os
import re
import shutil
import subprocess
import tempfile

from support.processes import ROOT, release_directory


def test_a_newcomers_call_is_let_in_debited_and_charged():
    directory = tempfile.mkdtemp(prefix="cg-dev-", dir="/tmp")
    os.chmod(directory, 0o755)
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("VAPI_")},
                   "CALLGATE_DEV_DIR": directory, "CALLGATE_DEV_PRESET": release_directory().name}

    def dev(*words):
        done = subprocess.run([ROOT / "dev", *words], env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        dev("up")
        told = dev("call", "--seconds", "4")
        balances = [int(word) for word in re.findall(r"available: (\d+) micros", told)]
        assert "let in for at most" in told and balances == sorted(balances, reverse=True), told
        assert balances[0] > balances[-1], "it falls by the second"
        assert re.search(r"charged: [0-9.]+ cents for \d+ ms", told), told
        dev("up")  # again is harmless
        assert "charged: " in dev("call", "--seconds", "1")
    finally:
        dev("down", "--wipe")
        shutil.rmtree(directory, ignore_errors=True)
