"""The contract's messages and stubs in Python, compiled from the proto when first asked for.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from support.processes import ROOT

PROTO = ROOT / "proto" / "callgate" / "v1" / "callgate.proto"


def compiled():
    """The directory with the generated modules; one per content of the proto and per user."""
    digest = hashlib.sha256(PROTO.read_bytes()).hexdigest()[:16]
    base = pathlib.Path(tempfile.gettempdir()) / f"cg-contract-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    assert base.stat().st_uid == os.getuid(), f"{base} belongs to somebody else"
    done = base / digest
    if done.exists():
        return done
    work = pathlib.Path(tempfile.mkdtemp(dir=base))
    subprocess.run(["protoc", f"--proto_path={ROOT / 'proto'}", f"--python_out={work}",
                    f"--grpc_python_out={work}",
                    "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin", str(PROTO)],
                   check=True)
    try:
        work.rename(done)  # whoever comes first; several test processes may try
    except OSError:
        shutil.rmtree(work)
    return done


sys.path.insert(0, str(compiled()))
pb = importlib.import_module("callgate.v1.callgate_pb2")
rpc = importlib.import_module("callgate.v1.callgate_pb2_grpc")
