"""A sidecar that wants to know who asks: the edge's token, and TLS.

SPDX-License-Identifier: Apache-2.0
"""

import subprocess

import pytest

from support.certificates import Authority
from support.client import Client
from support.processes import program
from support.redis_server import free_port
from support.waiting import wait_until


class Guarded:
    """A stack whose operator needs no token, and whose edge does; `over_tls`: also a certificate."""

    def __init__(self, make_world, folder, roles="gate,billing", over_tls=False, token=None, **settings):
        credentials = folder / "credentials"
        credentials.touch(mode=0o600)
        made = subprocess.run([program("callgate"), "token", str(folder / "edge.token"), "--roles", roles,
                               "--name", "edge"], capture_output=True, text=True, check=True)
        credentials.write_text(made.stdout)
        stack = {"listen": "unix:{socket},unix:{socket}.admin=*", "credentials_file": credentials}
        if over_tls:
            authority = Authority(folder / "issued")
            certificate, key = authority.issue_server()
            mine, my_key = authority.issue("edge", "DNS:edge.example")
            address = f"127.0.0.1:{free_port()}"
            stack.update(listen=f"{stack['listen']},tls:{address}", tls_cert_file=certificate, tls_key_file=key,
                         tls_client_ca_file=authority.pem)
            settings.update(gate=address, gate_ca_file=authority.pem, gate_cert_file=mine, gate_key_file=my_key)
        self.world = make_world(stack=stack, environment={
            "CALLGATE_EDGE_GATE_TOKEN": token or (folder / "edge.token").read_text().strip()}, **settings)
        sidecar = self.world.stack.sidecar
        sidecar.client.close()
        sidecar.client = Client(f"{sidecar.address}.admin")


@pytest.mark.parametrize("over_tls", [False, True])
def test_with_its_token_the_edge_does_all_that_it_must(make_world, tmp_path, over_tls):
    world = Guarded(make_world, tmp_path, over_tls=over_tls, sweep_ms=300).world
    company, number = world.company()
    # Authorize, Start, Settle; then what a look and a sweep need: GetCall, ListCalls, Adopt.
    call = world.vapi.dial_in(number)
    assert call.status == "in-progress", call.answer
    world.vapi.hang_up(call.id, talk_ms=61_001)
    world.wait_until_charged(call.id)
    world.vapi.faults.set(lost=1.0)
    past = world.vapi.create({"phoneNumberId": number, "customer": {"number": "+14155550100"}})
    wait_until(lambda: [c for c in world.client.live_calls(company) if c.call_id == past.id], 15,
               lambda: world.edge.process.tail(20))
    world.vapi.hang_up(past.id, talk_ms=60_000)
    world.wait_until_charged(past.id, 30)
    assert sorted(cost for cost, _ in world.usage(company)) == [82_667, 100_000]
    assert "the gate's events stopped" not in world.edge.process.text()


def test_a_token_that_is_not_good_lets_nobody_in_and_loses_nothing(make_world, tmp_path):
    world = Guarded(make_world, tmp_path, token="not-the-edges-token").world
    company, number = world.company()
    call = world.vapi.dial_in(number)
    assert call.answer == (200, {"error": "We cannot take your call right now. Please try again in a minute."})
    report = {"message": {"type": "end-of-call-report", "startedAt": 1787300000000, "endedAt": 1787300061001,
                          "call": {"id": "c-late", "type": "inboundPhoneCall", "phoneNumberId": number}}}
    # Not parked as if the gate had said no: it is put right, and the report comes again.
    assert world.edge.webhook(report)[0] == 503
    assert world.reviews("c-late") == set() and world.usage(company) == []
    assert "not-the-edges-token" not in world.edge.process.text()


def test_without_the_role_that_reads_the_events_are_missed_aloud(make_world, tmp_path):
    world = Guarded(make_world, tmp_path, roles="gate").world
    wait_until(lambda: "the gate's events stopped" in world.edge.process.text(), 10)
