"""Messages of lineside.v1 to the domain, each field within its bounds. Knows nothing of calls or channels."""

from __future__ import annotations

from lineside.errors import Reason, RejectedError
from lineside.ports import Call, ChatMessage, GenerateJob
from lineside.serving.request import Priority, Sampling
from lineside.transport.grpc.calls import MAX_TIMEOUT_MS, CallOptions
from lineside.v1 import admin_pb2, common_pb2, generation_pb2

MAX_KEY_CHARACTERS = 128
MAX_SCHEMA_BYTES = 16_384
MAX_STOPS = 8
MAX_STOP_CHARACTERS = 64
MAX_TEMPERATURE = 2.0
MAX_TOKENS = 65_536
MAX_MESSAGES = 256
ROLES = ("system", "user", "assistant")


def invalid(field: str, message: str) -> RejectedError:
    """The error of a field out of its bounds."""
    return RejectedError(Reason.INVALID, message, field=field)


def read_options(options: common_pb2.RequestOptions) -> CallOptions:
    """What every request may carry."""
    if options.timeout_ms > MAX_TIMEOUT_MS:
        raise invalid("options.timeout_ms", f"at most {MAX_TIMEOUT_MS}")
    if len(options.idempotency_key) > MAX_KEY_CHARACTERS:
        raise invalid("options.idempotency_key", f"at most {MAX_KEY_CHARACTERS} characters")
    if not 0 <= options.priority <= len(Priority):  # an open enumeration: the wire may say -1
        raise invalid("options.priority", f"{options.priority} is not a priority")
    priority = Priority(options.priority - 1) if options.priority else None
    return CallOptions(options.timeout_ms, priority, options.idempotency_key)


def read_generate(request: generation_pb2.GenerateRequest, call: Call, default_tokens: int) -> GenerateJob:
    """A generation as asked."""
    if bool(request.prompt) == bool(request.messages):
        raise invalid("prompt", "exactly one of prompt and messages is needed")
    return GenerateJob(
        call=call,
        prompt=request.prompt,
        messages=read_messages(request),
        sampling=read_sampling(request.sampling, default_tokens),
        json_schema=check_schema(request.json_schema) or None,
        thinking_tokens=request.thinking_tokens if request.HasField("thinking_tokens") else None,
        show_thinking=request.show_thinking,
    )


def read_power(request: admin_pb2.SetPowerRequest) -> dict[str, object]:
    """The values that are set."""
    return {descriptor.name: value for descriptor, value in request.ListFields()}


def read_messages(request: generation_pb2.GenerateRequest) -> tuple[ChatMessage, ...]:
    """The turns of a chat."""
    if len(request.messages) > MAX_MESSAGES:
        raise invalid("messages", f"at most {MAX_MESSAGES}")
    for index, message in enumerate(request.messages):
        if message.role not in ROLES:
            raise invalid(f"messages[{index}].role", f"one of {', '.join(ROLES)} is needed")
    return tuple(ChatMessage(message.role, message.content) for message in request.messages)


def read_sampling(sampling: generation_pb2.Sampling, default_tokens: int) -> Sampling:
    """How tokens shall be picked."""
    return check_sampling(
        Sampling(
            max_tokens=sampling.max_tokens or default_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p or 1.0,
            seed=sampling.seed if sampling.HasField("seed") else None,
            stop=tuple(sampling.stop),
        )
    )


def check_sampling(sampling: Sampling, prefix: str = "sampling.") -> Sampling:
    """`sampling` itself, where it is within bounds; `not (a <= x)` refuses NaN too."""
    if not 1 <= sampling.max_tokens <= MAX_TOKENS:
        raise invalid(f"{prefix}max_tokens", f"between 1 and {MAX_TOKENS}")
    if not 0.0 <= sampling.temperature <= MAX_TEMPERATURE:
        raise invalid(f"{prefix}temperature", f"between 0 and {MAX_TEMPERATURE:g}")
    if not 0 <= sampling.top_k < 2**31:
        raise invalid(f"{prefix}top_k", "between 0 and 2147483647")
    if not 0.0 < sampling.top_p <= 1.0:
        raise invalid(f"{prefix}top_p", "between 0 and 1")
    if sampling.seed is not None and not 0 <= sampling.seed < 2**64:
        raise invalid(f"{prefix}seed", "an unsigned integer of 64 bits")
    if len(sampling.stop) > MAX_STOPS:
        raise invalid(f"{prefix}stop", f"at most {MAX_STOPS}")
    for index, stop in enumerate(sampling.stop):
        if not 1 <= len(stop) <= MAX_STOP_CHARACTERS:
            raise invalid(f"{prefix}stop[{index}]", f"between 1 and {MAX_STOP_CHARACTERS} characters")
    return sampling


def check_schema(schema: str, field: str = "json_schema") -> str:
    """`schema` itself, where it is not too long. What it says is the grammar's business."""
    if len(schema.encode()) > MAX_SCHEMA_BYTES:
        raise invalid(field, f"at most {MAX_SCHEMA_BYTES} bytes")
    return schema
