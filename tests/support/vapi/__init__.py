"""A stand-in of Vapi: a real HTTP server that keeps state, sends webhooks and takes REST requests as
the vendor documents it, and does on request what goes wrong there.

    with StandIn(webhook_url, secret="...") as vapi:
        call = vapi.dial_in("pn-1", "+2348012345678")
        vapi.hang_up(call.id)

`python3 -m support.vapi --help` runs it alone, with a page to place calls from.

SPDX-License-Identifier: Apache-2.0
"""

from support.vapi.calls import Call
from support.vapi.faults import Faults
from support.vapi.stand_in import StandIn

__all__ = ["Call", "Faults", "StandIn"]
