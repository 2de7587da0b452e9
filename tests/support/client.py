"""A client of the gate with short words for what tests do all the time.

SPDX-License-Identifier: Apache-2.0
"""

import os
import uuid

# A channel whose calls fail at once is polled by nobody but this timer, 5 s unless told: so
# long it would not notice that a restarted sidecar has answered its connection.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "20")

import grpc  # noqa: E402  (it reads the environment)

from support.contract import pb, rpc
from support.waiting import wait_until

# A change to the server's limits is tested with a client that has none of its own.
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]

HEALTH_CHECK = "/grpc.health.v1.Health/Check"


def new_company():
    return str(uuid.uuid4())


def new_reference(prefix="ref"):
    return f"{prefix}-{uuid.uuid4()}"


def detail_of(error):
    """The ErrorDetail of an RpcError, or None where it has none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return _detail(value)
    return None


def _detail(raw):
    """The first detail of a google.rpc.Status, read without its generated code."""
    from google.protobuf import any_pb2
    from google.protobuf.internal import decoder
    at = 0
    while at < len(raw):
        tag, at = decoder._DecodeVarint(raw, at)
        if tag & 7 == 0:
            _, at = decoder._DecodeVarint(raw, at)
            continue
        assert tag & 7 == 2, f"tag {tag} in a google.rpc.Status"
        length, at = decoder._DecodeVarint(raw, at)
        if tag >> 3 == 3:
            packed = any_pb2.Any.FromString(raw[at:at + length])
            detail = pb.ErrorDetail()
            assert packed.Unpack(detail), packed.type_url
            return detail
        at += length
    return None


class Failure:
    """What an RPC ended with."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.detail = detail_of(error)
        self.reason = self.detail.reason if self.detail else 0
        self.field = self.detail.field if self.detail else ""
        self.bound = self.detail.bound if self.detail else ""

    def __repr__(self):
        return f"Failure({self.code}, {self.message!r}, {self.detail})"


def until_answered(ask, timeout=20, also=()):
    """Repeats a request with the same key while it is answered UNAVAILABLE, as callers do; `also`: or
    with one of these codes."""
    def once():
        try:
            return (ask(),)  # also where that is nothing
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, *also):
                raise
            raise AssertionError(error.details()) from None
    return wait_until(once, timeout, "an answer other than UNAVAILABLE")[0]


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a token with every call."""

    def __init__(self, token):
        self.header = ("authorization", f"Bearer {token}")

    def _with_token(self, go_on, details, request):
        headers = [*(details.metadata or ()), self.header]
        return go_on(details._replace(metadata=headers), request)

    intercept_unary_unary = intercept_unary_stream = _with_token


class Client:
    """Typed shortcuts: `client.authorize(company, "call-1", start=True)`.

    Every method takes the request's remaining fields by name and a `timeout` in seconds.
    """

    def __init__(self, address, timeout=10.0, options=(), credentials=None, token=None):
        """`credentials`: a certificate's, for an address with TLS."""
        options = [*CHANNEL_OPTIONS, *options]
        self.channel = (grpc.insecure_channel(address, options=options) if credentials is None
                        else grpc.secure_channel(address, credentials, options=options))
        calls = self.channel if token is None else grpc.intercept_channel(self.channel, Bearer(token))
        self.gate = rpc.GateStub(calls)
        self.wallets = rpc.WalletsStub(calls)
        self.timeout = timeout

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, method, request, timeout):
        return method(request, timeout=self.timeout if timeout is None else timeout)

    def authorize(self, company, call, resource_type="voice_outbound", destination="+14155550100",
                  timeout=None, **fields):
        return self._ask(self.gate.Authorize, pb.AuthorizeRequest(
            company_id=company, call_id=call, resource_type=resource_type,
            destination=destination, **fields), timeout)

    def start(self, company, call, timeout=None, **fields):
        return self._ask(self.gate.Start, pb.StartRequest(
            company_id=company, call_id=call, **fields), timeout)

    def stop(self, company, call, timeout=None, **fields):
        return self._ask(self.gate.Stop, pb.StopRequest(
            company_id=company, call_id=call, **fields), timeout)

    def settle(self, company, call, duration_ms=None, timeout=None, **fields):
        if duration_ms is not None:
            fields["duration_ms"] = duration_ms
        return self._ask(self.gate.Settle, pb.SettleRequest(
            company_id=company, call_id=call, **fields), timeout)

    def cancel(self, company, call, timeout=None):
        return self._ask(self.gate.Cancel, pb.CancelRequest(
            company_id=company, call_id=call), timeout)

    def adopt(self, company, call, started_at_ms, resource_type="voice_outbound",
              destination="+14155550100", timeout=None, **fields):
        return self._ask(self.gate.Adopt, pb.AdoptRequest(
            company_id=company, call_id=call, resource_type=resource_type,
            destination=destination, started_at_ms=started_at_ms, **fields), timeout)

    def create_wallet(self, company, timeout=None, **fields):
        return self._ask(self.wallets.CreateWallet, pb.CreateWalletRequest(
            company_id=company, **fields), timeout)

    def get_wallet(self, company, timeout=None):
        return self._ask(self.wallets.GetWallet, pb.GetWalletRequest(company_id=company), timeout)

    def update_wallet(self, company, timeout=None, **fields):
        return self._ask(self.wallets.UpdateWallet, pb.UpdateWalletRequest(
            company_id=company, **fields), timeout)

    def balance(self, company, timeout=None):
        return self._ask(self.wallets.GetBalance, pb.GetBalanceRequest(company_id=company), timeout)

    def get_call(self, company, call, timeout=None):
        return self._ask(self.wallets.GetCall, pb.GetCallRequest(
            company_id=company, call_id=call), timeout).call

    def list_page(self, company="", timeout=None, **fields):
        return self._ask(self.wallets.ListCalls, pb.ListCallsRequest(
            company_id=company, **fields), timeout)

    def live_calls(self, company="", page_size=0):
        """Every live call, over all pages."""
        calls, token = [], ""
        while True:
            page = self.list_page(company, page_size=page_size, page_token=token)
            calls.extend(page.calls)
            token = page.next_page_token
            if not token:
                return calls

    def credit(self, company, amount_micros, reference=None, type=pb.ENTRY_TYPE_TOP_UP,
               timeout=None, **fields):
        return self._ask(self.wallets.Credit, pb.CreditRequest(
            company_id=company, amount_micros=amount_micros, type=type,
            reference_id=reference or new_reference(), **fields), timeout)

    def charge(self, company, amount_micros, reference=None, resource_type="phone_number_rental",
               quantity=1, timeout=None, **fields):
        return self._ask(self.wallets.Charge, pb.ChargeRequest(
            company_id=company, amount_micros=amount_micros, resource_type=resource_type,
            quantity=quantity, reference_id=reference or new_reference("charge"), **fields),
            timeout)

    def funded(self, amount_micros, **fields):
        """A new company whose wallet has this much."""
        company = new_company()
        self.create_wallet(company, **fields)
        if amount_micros:
            self.credit(company, amount_micros)
        return company

    def fails(self, method, *args, **fields):
        """The Failure that this shortcut ends with; fails itself where it does not."""
        try:
            answer = getattr(self, method)(*args, **fields)
        except grpc.RpcError as error:
            return Failure(error)
        raise AssertionError(f"{method} was answered: {answer}")

    def is_serving(self, timeout=1.0):
        """What the health service says; its messages are small enough to do without code."""
        check = self.channel.unary_unary(HEALTH_CHECK)
        try:
            return check(b"", timeout=timeout) == b"\x08\x01"
        except grpc.RpcError:
            return False
