"""Disk faults without a kernel module: strace, attached to a running server, delays its system
calls or makes them fail.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib

from support.processes import Process
from support.waiting import wait_until


class Injection:
    """`call`: the system call; `what`: strace's words, "delay_enter=2000000" (microseconds) or
    "error=EIO"; `path`: only where it is about this file."""

    def __init__(self, pid, call, what, path=None):
        self.pid = pid
        only = ["-P", path] if path else []
        self.process = Process("strace", [
            "strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={call}", *only,
            "-e", f"inject={call}:{what}", "-p", str(pid)], f"/tmp/cg-strace-{pid}.log")

    def __enter__(self):
        self.process.start()
        self.process.wait_until_ready(self.is_attached)
        return self

    def is_attached(self):
        """To every thread: fsync is the business of one of its own in Redis."""
        return all("TracerPid:\t0\n" not in (task / "status").read_text()
                   for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir())

    def __exit__(self, *_):
        if self.process.is_alive():
            self.process.terminate()
        self.process.log.unlink(missing_ok=True)
        status = pathlib.Path(f"/proc/{self.pid}/status")
        wait_until(lambda: not status.exists() or "TracerPid:\t0\n" in status.read_text(), 10,
                   "strace has let go")
