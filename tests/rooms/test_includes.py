"""A forbidden include does not compile: the table of ARCHITECTURE.md, enforced by the build.

Every room's own compiler command (from the build's compile_commands.json) is asked to compile
one line that includes a header of each other room.  Third-party headers lie in /usr/include,
where no include path can hide them, so who names them is read from the sources.

SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import re
import shlex
import subprocess

import pytest

from support.processes import ROOT, build_directory

SRC = ROOT / "src"

# What a room may include besides libc and its own folder.
MAY_INCLUDE = {
    "base": set(),
    "gate": {"base", "gate/ports"},
    "gate/ports": {"base"},
    "loop": {"base", "gate/ports"},
    "store": {"base", "loop", "gate/ports"},
    "ledger": {"base", "loop", "gate/ports"},
    "events": {"base", "loop", "gate/ports"},
    "rpc": {"base", "loop", "gate", "events", "gate/ports"},
    "admin": {"base", "loop", "gate/ports"},
    "client": {"base"},
    "daemon": {"base", "loop", "gate", "gate/ports", "store", "ledger", "events", "rpc",
               "admin"},
    "edge/json": {"base"},
    "edge/auth": {"base"},
    "edge/http": {"base", "loop"},
    "edge/fetch": {"base", "loop"},
    "edge/calls": {"base"},
    "edge/vapi": {"base", "edge/json", "edge/calls"},
    "edge/store": {"base", "loop", "gate/ports", "ledger"},
    "edge/service": {"base", "loop", "edge/json", "edge/auth", "edge/http", "edge/fetch", "edge/calls",
                     "edge/vapi", "edge/store"},
}

# Which room owns which third-party header.
OWNERS = {
    r"uv\.h|uv/.*": {"loop"},
    r"hiredis/.*": {"store", "cli"},
    r"libpq-fe\.h|postgres_ext\.h|libpq/.*": {"ledger", "cli"},
    r"grpc/.*": {"rpc", "client"},
    r".*\.pb-c\.h|protobuf-c/.*|google/.*": {"rpc", "client"},
    r"jansson\.h": {"cli"},
    r"microhttpd\.h": {"admin", "edge/http"},
    r"curl/.*": {"edge/fetch"},
    r"openssl/.*": {"cli", "rpc", "edge/auth"},
}


def room_of(path):
    parts = path.relative_to(SRC).parts
    if parts[0] == "edge" or parts[:2] == ("gate", "ports"):
        return "/".join(parts[:2])
    return parts[0]


def commands():
    """One compiler command per room, without its source and output."""
    found = {}
    for entry in json.loads((build_directory() / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        # A program's main.c is compiled with the program's own, shorter list.
        if SRC in path.parents and room_of(path) in MAY_INCLUDE and path.name != "main.c":
            words = shlex.split(entry["command"])
            at = words.index("-o")
            # A file of a room that another program compiles for itself is no room's.
            if "callgated-next.dir" in words[at + 1]:
                continue
            found[room_of(path)] = ([word for word in words[:at] + words[at + 2:]
                                     if word not in ("-c", entry["file"])], entry["directory"])
    return found


COMMANDS = commands()
HEADERS = {room: next((str(header.relative_to(SRC)) for header in sorted((SRC / room).glob("*.h"))),
                      None)
           for room in MAY_INCLUDE}


def compiles(room, header):
    """Whether `#include "header"` finds it; what that header includes is not judged here."""
    words, directory = COMMANDS[room]
    done = subprocess.run([*words, "-fsyntax-only", "-x", "c", "-"], cwd=directory, text=True,
                          input=f'#include "{header}"\ntypedef int not_empty;\n',
                          capture_output=True, check=False)
    if done.returncode == 0:
        return True
    assert "No such file or directory" in done.stderr, done.stderr
    return f"<stdin>:1:10: fatal error: {header}: No such file" not in done.stderr


def pairs():
    for room in MAY_INCLUDE:
        for other, header in HEADERS.items():
            if header is not None and other != room:
                yield room, other, header


def test_every_room_is_compiled_and_has_headers():
    assert set(COMMANDS) == set(MAY_INCLUDE)
    assert all(HEADERS.values()), HEADERS


@pytest.mark.parametrize("room, other, header", list(pairs()))
def test_a_room_includes_what_it_may_and_nothing_else(room, other, header):
    # Who may include the gate may include its ports; the reverse is what must not be.
    assert compiles(room, header) == (other in MAY_INCLUDE[room])


@pytest.mark.parametrize("room", sorted({room_of(path).replace("gate/ports", "gate")
                                         for path in SRC.rglob("*.[ch]")}))
def test_third_party_headers_are_included_by_their_owners_alone(room):
    strangers = []
    for path in sorted((SRC / room).rglob("*.[ch]")):
        for header in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.M):
            for pattern, owners in OWNERS.items():
                if re.fullmatch(pattern, header) and room not in owners:
                    strangers.append(f"{path.relative_to(ROOT)} includes {header}")
    assert not strangers


@pytest.mark.parametrize("header, file", [("libpq-fe.h", "sql.c"), ("hiredis/hiredis.h", "store.c")])
def test_one_file_of_the_command_speaks_to_each_server(header, file):
    assert [path.name for path in sorted((SRC / "cli").rglob("*.[ch]"))
            if f"#include <{header}>" in path.read_text()] == [file]


def test_the_proof_itself_can_fail():
    """The same line compiles where the include is allowed, and does not where it is not."""
    assert compiles("store", HEADERS["base"]) and not compiles("base", HEADERS["store"])
