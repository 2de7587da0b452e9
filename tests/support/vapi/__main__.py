"""The stand-in alone, until it is told to end: for `./dev up`, and for who wants to try the edge by hand.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import os
import signal
import threading

from support.vapi.stand_in import StandIn


def main():
    parser = argparse.ArgumentParser(prog="support.vapi", description=__doc__)
    parser.add_argument("--port", type=int, default=8499)
    parser.add_argument("--webhook-url", required=True)
    parser.add_argument("--number", action="append", default=[], metavar="ID=NUMBER",
                        help="a phone number of the account; may be repeated")
    asked = parser.parse_args()
    vapi = StandIn(asked.webhook_url, port=asked.port, ring_s=1.0, report_s=2.0, backoff_s=2.0,
                   secret=os.environ.get("VAPI_WEBHOOK_SECRET", "stand-in-secret"),
                   api_key=os.environ.get("VAPI_API_KEY", "stand-in-key"))
    for each in asked.number:
        number_id, _, number = each.partition("=")
        vapi.add_phone_number(number_id, number)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(f"stand-in of Vapi: {vapi.url}/stand-in/", flush=True)
    ended.wait()
    vapi.close()


if __name__ == "__main__":
    main()
