"""Reflection, as grpcurl and other tools without a proto file use it.

SPDX-License-Identifier: Apache-2.0
"""

import queue

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from conftest import COMPANY, connect, raw, wait_until
from test_rpc import failure_of

SERVICES = ["callgate.v1.Gate", "callgate.v1.Wallets", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
Code = grpc.StatusCode
NOT_FOUND = Code.NOT_FOUND.value[0]


class Tool:
    """One stream of questions and answers."""

    def __init__(self, channel, reflection_pb, version):
        self.pb = reflection_pb[version]
        self.questions = queue.Queue()
        send = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            self.pb.ServerReflectionRequest.SerializeToString,
            self.pb.ServerReflectionResponse.FromString)
        self.answers = send(iter(self.questions.get, None), timeout=20)

    def ask(self, **question):
        self.questions.put(self.pb.ServerReflectionRequest(**question))
        return next(self.answers)

    def file(self, **question):
        answer = self.ask(**question)
        assert answer.HasField("file_descriptor_response"), answer
        [file] = answer.file_descriptor_response.file_descriptor_proto
        return descriptor_pb2.FileDescriptorProto.FromString(file)

    def error(self, **question):
        answer = self.ask(**question)
        assert answer.HasField("error_response"), answer
        return answer.error_response.error_code

    def hang_up(self):
        self.questions.put(None)


@pytest.fixture(params=["v1", "v1alpha"])
def version(request):
    return request.param


@pytest.fixture
def reflecting(start_server):
    return start_server(reflection=True)


@pytest.fixture
def tool(reflecting, reflection_pb, version):
    with connect(reflecting) as channel:
        opened = Tool(channel, reflection_pb, version)
        yield opened
        opened.hang_up()


def test_all_services_are_listed(tool):
    answer = tool.ask(host="a.host", list_services="*")
    assert [s.name for s in answer.list_services_response.service] == SERVICES
    assert answer.valid_host == "a.host"
    assert answer.original_request.list_services == "*"


@pytest.mark.parametrize("symbol", [
    "callgate.v1.Gate", "callgate.v1.Gate.Authorize", "callgate.v1.AuthorizeRequest",
    "callgate.v1.AuthorizeRequest.meta", "callgate.v1.AuthorizeRequest.MetaEntry",
    "callgate.v1.AuthorizeRequest.MetaEntry.value", "callgate.v1.Decision",
    "callgate.v1.DECISION_ALLOWED", "callgate.v1.SettleRequest.duration",
])
def test_a_symbol_leads_to_its_file(tool, symbol):
    assert tool.file(file_containing_symbol=symbol).name == "callgate/v1/callgate.proto"


@pytest.mark.parametrize("symbol", [
    "grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc.health.v1.HealthCheckResponse.SERVING",
    "grpc.health.v1.Health.Watch",
])
def test_what_stands_within_a_message_leads_to_its_file(tool, symbol):
    assert tool.file(file_containing_symbol=symbol).name == "grpc/health/v1/health.proto"


@pytest.mark.parametrize("symbol", [
    "", ".", "callgate", "callgate.v1", "callgate.v1.", "callgate.v1.Nothing", "Gate",
    ".callgate.v1.Gate", "callgate.v1.Gate.", "callgate.v1.Gate.Nothing",
    "callgate.v1.GateAuthorize", "callgate.v1.AuthorizeRequest.nothing", "callgate.v1.Gat",
    "x" * 600, "callgate.v1." + "A." * 200,
])
def test_a_symbol_that_is_none_is_not_found_and_the_stream_goes_on(tool, symbol):
    assert tool.error(file_containing_symbol=symbol) == NOT_FOUND
    assert tool.ask(list_services="").HasField("list_services_response")


def test_files_are_found_by_name(tool):
    for name in ("callgate/v1/callgate.proto", "grpc/health/v1/health.proto",
                 "grpc/reflection/v1/reflection.proto",
                 "grpc/reflection/v1alpha/reflection.proto"):
        assert tool.file(file_by_filename=name).name == name
    assert tool.error(file_by_filename="callgate.proto") == NOT_FOUND


def test_there_are_no_extensions(tool):
    extension = tool.pb.ExtensionRequest(
        containing_type="callgate.v1.AuthorizeRequest", extension_number=1000)
    assert tool.error(file_containing_extension=extension) == NOT_FOUND
    answer = tool.ask(all_extension_numbers_of_type="callgate.v1.AuthorizeRequest")
    numbers = answer.all_extension_numbers_response
    assert numbers.base_type_name == "callgate.v1.AuthorizeRequest"
    assert not numbers.extension_number
    assert tool.error(all_extension_numbers_of_type="callgate.v1.Gate") == NOT_FOUND


def test_a_question_that_is_none_is_told_so(tool):
    assert tool.error(host="h") == Code.UNIMPLEMENTED.value[0]


def test_the_end_of_the_questions_ends_the_answers_well(tool):
    tool.ask(list_services="")
    tool.hang_up()
    assert list(tool.answers) == []
    assert tool.answers.code() == Code.OK


def test_a_request_can_be_made_of_what_was_told(reflecting, tool):
    """What grpcurl does: no generated code, messages from descriptors alone."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(tool.file(file_containing_symbol="callgate.v1.Gate"))
    method = pool.FindServiceByName("callgate.v1.Gate").methods_by_name["Authorize"]
    factory = message_factory.MessageFactory(pool)
    question = factory.GetPrototype(method.input_type)(
        company_id=COMPANY, call_id="c1", resource_type="voice_outbound",
        destination="+41791234567")
    with connect(reflecting) as channel:
        answer = raw(channel, f"/{method.containing_service.full_name}/{method.name}")(
            question.SerializeToString(), timeout=5)
    decided = factory.GetPrototype(method.output_type).FromString(answer)
    names = pool.FindEnumTypeByName("callgate.v1.Decision").values_by_number
    assert names[decided.decision].name == "DECISION_ALLOWED"


@pytest.mark.parametrize("message", [b"\xff", b"\x22\x7f", b"\x00\x01", b"\x22", b"\x0b"])
def test_bytes_that_are_no_message_end_the_stream(reflecting, version, message):
    with connect(reflecting) as channel:
        stream = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            lambda b: b, lambda b: b)(iter([message]), timeout=10)
        assert failure_of(lambda: next(stream)).code() == Code.INVALID_ARGUMENT


def test_draining_ends_it(reflecting, tool):
    tool.ask(list_services="")
    reflecting.drain()
    assert failure_of(lambda: next(tool.answers)).code() == Code.UNAVAILABLE


def test_a_peer_that_asks_and_never_reads_holds_one_answer(reflecting, reflection_pb):
    """Questions without end, answers of 30 KB each that nobody takes: they are not read ahead."""
    pb = reflection_pb["v1"]
    question = pb.ServerReflectionRequest(
        file_by_filename="callgate/v1/callgate.proto").SerializeToString()
    asked = []

    def questions():
        for _ in range(100000):
            asked.append(1)
            yield question

    with connect(reflecting) as channel:
        # The client's own window is large; it is left unread by never asking for an answer.
        stream = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            lambda b: b, lambda b: b)(questions(), timeout=30)
        wait_until(lambda: len(asked) > 1)
        with connect(reflecting) as other:
            for _ in range(50):
                assert raw(other, "/grpc.health.v1.Health/Check")(b"", timeout=5) == b"\x08\x01"
        assert len(asked) < 50000
        stream.cancel()
