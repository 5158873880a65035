from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_CRITICAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_INVALID: _ClassVar[Reason]
    REASON_TOO_LONG: _ClassVar[Reason]
    REASON_NOT_FOUND: _ClassVar[Reason]
    REASON_UNAUTHENTICATED: _ClassVar[Reason]
    REASON_FORBIDDEN: _ClassVar[Reason]
    REASON_OVERLOAD: _ClassVar[Reason]
    REASON_POWER: _ClassVar[Reason]
    REASON_DEADLINE: _ClassVar[Reason]
    REASON_EXPIRED: _ClassVar[Reason]
    REASON_CANCELLED: _ClassVar[Reason]
    REASON_DRAINING: _ClassVar[Reason]
    REASON_NOT_READY: _ClassVar[Reason]
    REASON_ENGINE_FAULT: _ClassVar[Reason]
    REASON_STORAGE: _ClassVar[Reason]
    REASON_POISON: _ClassVar[Reason]
    REASON_INTERNAL: _ClassVar[Reason]
    REASON_NO_KB_HIT: _ClassVar[Reason]
    REASON_LOW_CONF: _ClassVar[Reason]
    REASON_CONFLICT: _ClassVar[Reason]
    REASON_UNREACHABLE: _ClassVar[Reason]
    REASON_GROUPED: _ClassVar[Reason]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_CRITICAL: Priority
PRIORITY_HIGH: Priority
PRIORITY_NORMAL: Priority
PRIORITY_LOW: Priority
REASON_UNSPECIFIED: Reason
REASON_INVALID: Reason
REASON_TOO_LONG: Reason
REASON_NOT_FOUND: Reason
REASON_UNAUTHENTICATED: Reason
REASON_FORBIDDEN: Reason
REASON_OVERLOAD: Reason
REASON_POWER: Reason
REASON_DEADLINE: Reason
REASON_EXPIRED: Reason
REASON_CANCELLED: Reason
REASON_DRAINING: Reason
REASON_NOT_READY: Reason
REASON_ENGINE_FAULT: Reason
REASON_STORAGE: Reason
REASON_POISON: Reason
REASON_INTERNAL: Reason
REASON_NO_KB_HIT: Reason
REASON_LOW_CONF: Reason
REASON_CONFLICT: Reason
REASON_UNREACHABLE: Reason
REASON_GROUPED: Reason

class RequestOptions(_message.Message):
    __slots__ = ("timeout_ms", "priority", "idempotency_key")
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    priority: Priority
    idempotency_key: str
    def __init__(self, timeout_ms: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_ms", "first_token_ms", "total_ms")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    first_token_ms: float
    total_ms: float
    def __init__(self, queue_ms: _Optional[float] = ..., first_token_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens", "forced_tokens", "thinking_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORCED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    THINKING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    forced_tokens: int
    thinking_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., forced_tokens: _Optional[int] = ..., thinking_tokens: _Optional[int] = ...) -> None: ...
