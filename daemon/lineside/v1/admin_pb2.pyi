from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServiceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVICE_STATE_UNSPECIFIED: _ClassVar[ServiceState]
    SERVICE_STATE_STARTING: _ClassVar[ServiceState]
    SERVICE_STATE_READY: _ClassVar[ServiceState]
    SERVICE_STATE_DEGRADED: _ClassVar[ServiceState]
    SERVICE_STATE_DRAINING: _ClassVar[ServiceState]
SERVICE_STATE_UNSPECIFIED: ServiceState
SERVICE_STATE_STARTING: ServiceState
SERVICE_STATE_READY: ServiceState
SERVICE_STATE_DEGRADED: ServiceState
SERVICE_STATE_DRAINING: ServiceState

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "state", "detail", "uptime_s", "engine", "knowledge", "broker", "journal", "counters", "engine_choice", "power")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_FIELD_NUMBER: _ClassVar[int]
    BROKER_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_CHOICE_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: ServiceState
    detail: str
    uptime_s: float
    engine: EngineStatus
    knowledge: KnowledgeStatus
    broker: BrokerStatus
    journal: JournalStatus
    counters: _containers.ScalarMap[str, int]
    engine_choice: str
    power: PowerStatus
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[ServiceState, str]] = ..., detail: _Optional[str] = ..., uptime_s: _Optional[float] = ..., engine: _Optional[_Union[EngineStatus, _Mapping]] = ..., knowledge: _Optional[_Union[KnowledgeStatus, _Mapping]] = ..., broker: _Optional[_Union[BrokerStatus, _Mapping]] = ..., journal: _Optional[_Union[JournalStatus, _Mapping]] = ..., counters: _Optional[_Mapping[str, int]] = ..., engine_choice: _Optional[str] = ..., power: _Optional[_Union[PowerStatus, _Mapping]] = ...) -> None: ...

class PowerStatus(_message.Message):
    __slots__ = ("state", "detail", "limit_w", "limit_source", "power_w", "total", "rails_w", "temperatures_c", "gpu_load", "gpu_hz", "gpu_max_hz", "duty", "max_batch", "floor_w", "energy_j", "tokens_per_j", "over_current_events", "mode", "joules_per_diagnosis", "gpu_limit_w")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    LIMIT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RAILS_W_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURES_C_FIELD_NUMBER: _ClassVar[int]
    GPU_LOAD_FIELD_NUMBER: _ClassVar[int]
    GPU_HZ_FIELD_NUMBER: _ClassVar[int]
    GPU_MAX_HZ_FIELD_NUMBER: _ClassVar[int]
    DUTY_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    FLOOR_W_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_J_FIELD_NUMBER: _ClassVar[int]
    OVER_CURRENT_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    JOULES_PER_DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    GPU_LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    state: str
    detail: str
    limit_w: float
    limit_source: str
    power_w: float
    total: str
    rails_w: _containers.RepeatedCompositeFieldContainer[PowerSensor]
    temperatures_c: _containers.RepeatedCompositeFieldContainer[PowerSensor]
    gpu_load: float
    gpu_hz: float
    gpu_max_hz: float
    duty: float
    max_batch: int
    floor_w: float
    energy_j: float
    tokens_per_j: float
    over_current_events: int
    mode: str
    joules_per_diagnosis: float
    gpu_limit_w: float
    def __init__(self, state: _Optional[str] = ..., detail: _Optional[str] = ..., limit_w: _Optional[float] = ..., limit_source: _Optional[str] = ..., power_w: _Optional[float] = ..., total: _Optional[str] = ..., rails_w: _Optional[_Iterable[_Union[PowerSensor, _Mapping]]] = ..., temperatures_c: _Optional[_Iterable[_Union[PowerSensor, _Mapping]]] = ..., gpu_load: _Optional[float] = ..., gpu_hz: _Optional[float] = ..., gpu_max_hz: _Optional[float] = ..., duty: _Optional[float] = ..., max_batch: _Optional[int] = ..., floor_w: _Optional[float] = ..., energy_j: _Optional[float] = ..., tokens_per_j: _Optional[float] = ..., over_current_events: _Optional[int] = ..., mode: _Optional[str] = ..., joules_per_diagnosis: _Optional[float] = ..., gpu_limit_w: _Optional[float] = ...) -> None: ...

class PowerSensor(_message.Message):
    __slots__ = ("name", "value", "state", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    state: str
    detail: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., state: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class SetPowerRequest(_message.Message):
    __slots__ = ("limit_w", "temperature_max_c", "mode", "clear")
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_MAX_C_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CLEAR_FIELD_NUMBER: _ClassVar[int]
    limit_w: float
    temperature_max_c: float
    mode: str
    clear: bool
    def __init__(self, limit_w: _Optional[float] = ..., temperature_max_c: _Optional[float] = ..., mode: _Optional[str] = ..., clear: bool = ...) -> None: ...

class SetPowerResponse(_message.Message):
    __slots__ = ("limit_w", "limit_source", "temperature_max_c", "mode")
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    LIMIT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_MAX_C_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    limit_w: float
    limit_source: str
    temperature_max_c: float
    mode: str
    def __init__(self, limit_w: _Optional[float] = ..., limit_source: _Optional[str] = ..., temperature_max_c: _Optional[float] = ..., mode: _Optional[str] = ...) -> None: ...

class EngineStatus(_message.Message):
    __slots__ = ("name", "device", "model", "precision", "slots", "max_seq_len", "cache_bytes", "running", "waiting", "step_ms", "prefill_tokens_per_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQ_LEN_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    STEP_MS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    device: str
    model: str
    precision: str
    slots: int
    max_seq_len: int
    cache_bytes: int
    running: int
    waiting: int
    step_ms: float
    prefill_tokens_per_s: float
    def __init__(self, name: _Optional[str] = ..., device: _Optional[str] = ..., model: _Optional[str] = ..., precision: _Optional[str] = ..., slots: _Optional[int] = ..., max_seq_len: _Optional[int] = ..., cache_bytes: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., step_ms: _Optional[float] = ..., prefill_tokens_per_s: _Optional[float] = ...) -> None: ...

class KnowledgeStatus(_message.Message):
    __slots__ = ("version", "entries", "texts_embedded", "texts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TEXTS_EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    version: str
    entries: int
    texts_embedded: int
    texts: int
    def __init__(self, version: _Optional[str] = ..., entries: _Optional[int] = ..., texts_embedded: _Optional[int] = ..., texts: _Optional[int] = ...) -> None: ...

class BrokerStatus(_message.Message):
    __slots__ = ("address", "connected", "managed")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    MANAGED_FIELD_NUMBER: _ClassVar[int]
    address: str
    connected: bool
    managed: bool
    def __init__(self, address: _Optional[str] = ..., connected: bool = ..., managed: bool = ...) -> None: ...

class JournalStatus(_message.Message):
    __slots__ = ("pending", "unpublished")
    PENDING_FIELD_NUMBER: _ClassVar[int]
    UNPUBLISHED_FIELD_NUMBER: _ClassVar[int]
    pending: int
    unpublished: int
    def __init__(self, pending: _Optional[int] = ..., unpublished: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "architecture", "precision", "licence", "max_seq_len", "parameters", "languages", "source_sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_SEQ_LEN_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    architecture: str
    precision: str
    licence: str
    max_seq_len: int
    parameters: int
    languages: _containers.RepeatedScalarFieldContainer[str]
    source_sha256: str
    def __init__(self, name: _Optional[str] = ..., architecture: _Optional[str] = ..., precision: _Optional[str] = ..., licence: _Optional[str] = ..., max_seq_len: _Optional[int] = ..., parameters: _Optional[int] = ..., languages: _Optional[_Iterable[str]] = ..., source_sha256: _Optional[str] = ...) -> None: ...
