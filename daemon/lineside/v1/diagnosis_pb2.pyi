from lineside.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiagnosisStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIAGNOSIS_STATUS_UNSPECIFIED: _ClassVar[DiagnosisStatus]
    DIAGNOSIS_STATUS_OK: _ClassVar[DiagnosisStatus]
    DIAGNOSIS_STATUS_ABSTAIN: _ClassVar[DiagnosisStatus]
    DIAGNOSIS_STATUS_ERROR: _ClassVar[DiagnosisStatus]
DIAGNOSIS_STATUS_UNSPECIFIED: DiagnosisStatus
DIAGNOSIS_STATUS_OK: DiagnosisStatus
DIAGNOSIS_STATUS_ABSTAIN: DiagnosisStatus
DIAGNOSIS_STATUS_ERROR: DiagnosisStatus

class DiagnoseRequest(_message.Message):
    __slots__ = ("options", "report_json")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REPORT_JSON_FIELD_NUMBER: _ClassVar[int]
    options: _common_pb2.RequestOptions
    report_json: bytes
    def __init__(self, options: _Optional[_Union[_common_pb2.RequestOptions, _Mapping]] = ..., report_json: _Optional[bytes] = ...) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("diagnosis_json", "status", "reason", "severity", "summary")
    DIAGNOSIS_JSON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    diagnosis_json: bytes
    status: DiagnosisStatus
    reason: _common_pb2.Reason
    severity: str
    summary: str
    def __init__(self, diagnosis_json: _Optional[bytes] = ..., status: _Optional[_Union[DiagnosisStatus, str]] = ..., reason: _Optional[_Union[_common_pb2.Reason, str]] = ..., severity: _Optional[str] = ..., summary: _Optional[str] = ...) -> None: ...

class DiagnoseEvent(_message.Message):
    __slots__ = ("retrieved", "text", "diagnosis")
    RETRIEVED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    retrieved: Retrieved
    text: str
    diagnosis: DiagnoseResponse
    def __init__(self, retrieved: _Optional[_Union[Retrieved, _Mapping]] = ..., text: _Optional[str] = ..., diagnosis: _Optional[_Union[DiagnoseResponse, _Mapping]] = ...) -> None: ...

class Retrieved(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[RetrievedEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[RetrievedEntry, _Mapping]]] = ...) -> None: ...

class RetrievedEntry(_message.Message):
    __slots__ = ("ref", "source", "title")
    REF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ref: str
    source: str
    title: str
    def __init__(self, ref: _Optional[str] = ..., source: _Optional[str] = ..., title: _Optional[str] = ...) -> None: ...

class GiveFeedbackRequest(_message.Message):
    __slots__ = ("feedback_json",)
    FEEDBACK_JSON_FIELD_NUMBER: _ClassVar[int]
    feedback_json: bytes
    def __init__(self, feedback_json: _Optional[bytes] = ...) -> None: ...

class GiveFeedbackResponse(_message.Message):
    __slots__ = ("receipt_json", "feedback_id")
    RECEIPT_JSON_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    receipt_json: bytes
    feedback_id: str
    def __init__(self, receipt_json: _Optional[bytes] = ..., feedback_id: _Optional[str] = ...) -> None: ...
