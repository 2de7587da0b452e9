"""The wall clock of one program, which a test sets ahead or back while it runs.

SPDX-License-Identifier: Apache-2.0
"""

import functools
import pathlib
import struct
import subprocess
import tempfile


@functools.cache
def shifted_clock_library():
    """shifted_clock.c, built without sanitizers: it goes into foreign programs, of any user."""
    library = pathlib.Path(tempfile.mkdtemp(prefix="cg-clock-", dir="/tmp")) / "shifted_clock.so"
    source = pathlib.Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library,
                    source], check=True)
    library.parent.chmod(0o755)
    library.chmod(0o755)
    return library


class ShiftedClock:
    """`environment` is what the program is started with; `file` may be lost with its directory."""

    def __init__(self, file):
        self.file = file
        self.file.write_bytes(struct.pack("<q", 0))
        self.file.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(shifted_clock_library()), "CALLGATE_TEST_CLOCK": str(file)}

    def set(self, ahead_ms):
        with open(self.file, "r+b") as file:  # in place: the program has it mapped
            file.write(struct.pack("<q", ahead_ms))

    def advance(self, ms):
        """By so much more than before."""
        before, = struct.unpack("<q", self.file.read_bytes())
        self.set(before + ms)
