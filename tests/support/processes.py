"""Processes that tests start: always ended by pid, their output always kept.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import pwd
import signal
import subprocess

from support.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build_directory():
    """Where the programs under test are: $CALLGATE_TEST_BUILD, else the ASan build."""
    chosen = os.environ.get("CALLGATE_TEST_BUILD")
    return pathlib.Path(chosen).resolve() if chosen else ROOT / "build" / "dev-werror"


def release_directory():
    """Where the optimized programs are, for what is about load: else the build under test."""
    chosen = os.environ.get("CALLGATE_RELEASE_BUILD")
    for place in [chosen, ROOT / "build" / "release-werror", ROOT / "build" / "release"]:
        if place and (pathlib.Path(place) / "bin" / "callgated").exists():
            return pathlib.Path(place).resolve()
    return build_directory()


def program(name, directory=None):
    path = (directory or build_directory()) / "bin" / name
    assert path.exists(), f"{path} is not built"
    return str(path)


def is_root():
    return os.geteuid() == 0


def as_user(user):
    """A prefix that runs a command as `user`, or none where we are nobody special."""
    if not is_root():
        return []
    entry = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]


class Process:
    """One child process with its output in a file."""

    def __init__(self, name, command, log, env=None, user=None):
        self.name = name
        self.log = pathlib.Path(log)
        # The kernel ends the child should the test run itself be killed.
        self.command = [*(as_user(user) if user else []),
                        "setpriv", "--pdeathsig", "KILL", *map(str, command)]
        self.env = {**os.environ, **(env or {})}
        self.child = None

    def start(self):
        assert not self.is_alive(), f"{self.name} runs already"
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, env=self.env, start_new_session=True)
        return self

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        if self.is_alive():
            self.child.send_signal(number)

    def kill(self):
        """kill -9, and reaped."""
        self.signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait(timeout=10)

    def terminate(self, timeout=20):
        """SIGTERM; answers the exit status, or fails where the process does not end."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=20):
        if self.child is None:
            return None
        try:
            return self.child.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s\n{self.tail()}")

    def text(self):
        try:
            return self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def tail(self, lines=60):
        return "\n".join(self.text().splitlines()[-lines:])

    def wait_until_ready(self, condition, timeout=20):
        """As wait_until, but gives up at once when the process ends."""
        def ready():
            if not self.is_alive():
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}\n{self.tail()}")
            return condition()
        try:
            return wait_until(ready, timeout, f"{self.name} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
