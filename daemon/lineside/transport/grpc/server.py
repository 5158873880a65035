"""The gRPC server's life: options, services, health, start, stop. Knows nothing of what the services do."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lineside.config import GrpcConfig, is_loopback
from lineside.errors import LinesideError
from lineside.open_inference import open_inference_pb2, open_inference_pb2_grpc
from lineside.ports import Admin, Auditor, Diagnoser, FeedbackTaker, Generator, PowerSetter
from lineside.security.files import CertificateFiles
from lineside.transport.grpc.audit import AuditInterceptor
from lineside.transport.grpc.calls import CallDefaults, Calls
from lineside.transport.grpc.malformed import MalformedInterceptor
from lineside.transport.grpc.open_inference import OpenInferenceService
from lineside.transport.grpc.revocation import RevocationInterceptor
from lineside.transport.grpc.services import (
    AdminService,
    DiagnosisService,
    FeedbackService,
    GenerationService,
)
from lineside.transport.grpc.tls import ServerCertificates
from lineside.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
)

if TYPE_CHECKING:
    from lineside.security.revoked import RevocationList

logger = logging.getLogger("lineside.transport.grpc")

SERVICES = tuple(
    file.services_by_name[name].full_name
    for file, name in (
        (generation_pb2.DESCRIPTOR, "GenerationService"),
        (diagnosis_pb2.DESCRIPTOR, "DiagnosisService"),
        (diagnosis_pb2.DESCRIPTOR, "FeedbackService"),
        (admin_pb2.DESCRIPTOR, "AdminService"),
        (open_inference_pb2.DESCRIPTOR, "GRPCInferenceService"),
    )
)
# Calls beside those that work: health, status, reflection, and those that hear that there is no seat.
HEADROOM = 64
# Of the network's side; our own socket has as many again. More would take the descriptors that all else
# needs, and paho waits with select, which knows none beyond 1023.
MAX_CONNECTIONS = 400
# Who connects has so long to say who it is, and that it speaks HTTP/2.
HANDSHAKE_MS = 10_000
# For health watchers, which never end by themselves, to hear the last status before the server goes.
FLUSH_S = 0.25
CLEANUP_S = 2.0
LOOK_S = RETRY_S = 0.5
OWN_CHANNEL = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


@dataclass(frozen=True, slots=True)
class Served:
    """Who does what clients ask for, and who records it."""

    generator: Generator
    diagnoser: Diagnoser
    feedback: FeedbackTaker
    power: PowerSetter
    audit: Auditor | None = None


class GrpcServer:
    """All services on one port. Not serving, for health checks, until told so."""

    def __init__(
        self,
        config: GrpcConfig,
        served: Served,
        admin: Admin,
        defaults: CallDefaults,
        files: CertificateFiles | None = None,
    ) -> None:
        self._audit = served.audit
        self._config = config
        self._files = files
        self._probe = tempfile.TemporaryDirectory(prefix="lineside-grpc-")
        revoked = _revocations(files) if config.tls and files is not None else None
        self._calls = Calls(admin, defaults.roles, config.max_in_flight, defaults.timeout_ms, revoked)
        self._generation = GenerationService(served.generator, admin, self._calls, defaults.max_tokens)
        self._diagnosis = DiagnosisService(served.diagnoser, self._calls)
        self._feedback = FeedbackService(served.feedback, self._calls)
        self._admin_service = AdminService(admin, served.power, self._calls)
        self._open_inference = OpenInferenceService(served.generator, admin, self._calls, defaults.max_tokens)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._port = config.port

    async def start(self) -> int:
        """Listen; returns the port."""
        await self.set_serving(False)
        self._port = await self._listen(self._config.port)
        logger.info("gRPC listens", extra={"host": self._config.host, "port": self._port})
        return self._port

    async def watch(self) -> None:
        """Listen again whenever grpc has given up, until stopped.

        grpc.aio ends its whole server where the name of one call is no UTF-8.
        """
        while (server := self._server) is not None:
            error = await end_of(server)
            if error is None:
                return
            logger.error("gRPC gave up and listens again: %s", error)
            await cleared(server)
            while self._server is not None and not await self._listens_again():
                await anyio.sleep(RETRY_S)

    async def _listens_again(self) -> bool:
        try:
            await self._listen(self._port)
        except LinesideError as error:
            logger.error("%s", error)  # noqa: TRY400 - it says what to do, not where it was raised
            return False
        return True

    async def _listen(self, port: int) -> int:
        limit = self._config.max_in_flight + HEADROOM
        prefixes = tuple(f"/{service}/" for service in SERVICES)
        interceptors: list[grpc.aio.ServerInterceptor] = [
            RevocationInterceptor(self._calls),
            MalformedInterceptor(self._calls, prefixes),
        ]
        if self._audit is not None:
            interceptors.insert(0, AuditInterceptor(self._audit, prefixes))
        server = grpc.aio.server(
            interceptors=interceptors, options=server_options(self._config), maximum_concurrent_rpcs=limit
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(self._generation, server)
        diagnosis_pb2_grpc.add_DiagnosisServiceServicer_to_server(self._diagnosis, server)
        diagnosis_pb2_grpc.add_FeedbackServiceServicer_to_server(self._feedback, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self._admin_service, server)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self._open_inference, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        bound = self._bind(server, port)
        await server.start()
        self._server = server
        return bound

    async def progress(self) -> None:
        """Returns once the server has answered a call of our own, from its socket to its handler and back."""
        if self._server is None:
            return
        async with grpc.aio.insecure_channel(self._own_address, OWN_CHANNEL) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                # A no for want of seats is an answer; a server that is being stopped has given its last.
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED and self._server is not None:
                    raise

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks and their watchers."""
        status = health_pb2.HealthCheckResponse
        for service in ("", *SERVICES):
            # A watcher that does not read holds its service's lock: the others go on.
            with anyio.move_on_after(1.0):
                await self._health.set(service, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Stop serving, refuse new calls, wait for those in flight, then end what is left."""
        server, self._server = self._server, None
        if server is None:
            self._probe.cleanup()
            return
        await self.set_serving(False)
        await self._calls.drain(grace_s)
        await server.stop(FLUSH_S)
        # Calls that were ended just now free what they hold.
        await self._calls.drain(CLEANUP_S)
        self._probe.cleanup()

    def _bind(self, server: grpc.aio.Server, port: int) -> int:
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        address = f"{host}:{port}"
        credentials = self._credentials()
        try:
            # Where only the daemon's own user comes, for `progress`: it needs no certificate.
            server.add_insecure_port(self._own_address)
            if credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, credentials)
        except RuntimeError as error:
            hint = "stop what listens there, or set [grpc] host and port to an address that is free here"
            raise LinesideError("start gRPC", f"cannot listen on {address}", hint) from error

    @property
    def _own_address(self) -> str:
        return f"unix:{self._probe.name}/own"

    def _credentials(self) -> grpc.ServerCredentials | None:
        if self._config.tls and self._files is not None:
            return ServerCertificates(self._files).credentials()
        if is_loopback(self._config.host):
            return None
        hint = "set [grpc] tls = true after lineside certs init and server; docs/security.md has the steps"
        message = f"[grpc] host {self._config.host} can be reached from the network, and [grpc] tls is false"
        raise LinesideError("start gRPC", message, hint)


def _revocations(files: CertificateFiles) -> RevocationList:
    from lineside.security.revoked import RevocationList  # noqa: PLC0415  (with TLS alone: 10 MB)

    return RevocationList(files)


async def end_of(server: grpc.aio.Server) -> Exception | None:
    """Waits for the end of a server; what made it give up, None where it was stopped.

    Of that grpc tells at a timeout alone: without one it waits for the calls that it has left.
    """
    try:
        while await server.wait_for_termination(LOOK_S):
            pass
    except Exception as error:  # noqa: BLE001 - whatever it was, clients need a server
        return error
    return None


async def cleared(server: grpc.aio.Server) -> None:
    """A server that has given up lets go of its port, or is left after `CLEANUP_S`.

    grpc clears up by itself, too. Whoever comes first hears once more what made it give up.
    """
    with anyio.move_on_after(CLEANUP_S), contextlib.suppress(Exception):
        await server.stop(None)


def server_options(config: GrpcConfig) -> list[tuple[str, int]]:
    """Bounds of a connection, and pings that find a dead one."""
    return [
        ("grpc.so_reuseport", 0),  # a busy port is an error, not a second server behind the same number
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # Above max_in_flight, so that a call too many hears a no instead of waiting in its own client.
        ("grpc.max_concurrent_streams", config.max_in_flight + HEADROOM),
        ("grpc.max_metadata_size", 16_384),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Who acknowledges TCP and answers no ping is found by this one alone.
        ("grpc.http2.ping_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.max_connection_idle_ms", 1_800_000),
        ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ]
