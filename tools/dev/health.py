"""Waits until a sidecar's health service says SERVING: health.py ADDRESS SECONDS.

The two messages of grpc.health.v1 are an empty one and one number, so no code is generated.

SPDX-License-Identifier: Apache-2.0
"""

import sys
import time

import grpc


def main(address, seconds):
    end = time.monotonic() + float(seconds)
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    trouble = "no answer"
    with grpc.insecure_channel(address, options=options) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        while time.monotonic() < end:
            try:
                # Waiting for the connection also polls it; a call that fails at once does not.
                if check(b"", timeout=1, wait_for_ready=True) == b"\x08\x01":
                    return 0
                trouble = "not serving"
            except grpc.RpcError as error:
                trouble = f"{error.code().name}: {error.details()}"
            time.sleep(0.05)
    print(f"{address}: {trouble}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
