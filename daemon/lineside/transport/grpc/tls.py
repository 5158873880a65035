"""TLS of the gRPC server and of the command line's client. Knows no service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from lineside.errors import LinesideError
from lineside.security.files import CertificateFiles, read_pem
from lineside.security.pair import check_life, check_pair


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a client believes, and how it proves itself."""

    ca: Path
    certificate: Path
    key: Path


class ServerCertificates:
    """The server's certificate, read again at each handshake: a renewed one serves from then on."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """For clients that show a certificate of the same authority."""
        check_life(self._files.server)
        return grpc.dynamic_ssl_server_credentials(
            grpc.ssl_server_certificate_configuration([self._current[:2]], self._current[2]),
            self._changed,
            require_client_authentication=True,
        )

    def _changed(self) -> Any:
        try:
            found = self._read()
        except LinesideError:
            return None  # being replaced, or broken: what was good goes on
        if found == self._current:
            return None
        self._current = found
        return grpc.ssl_server_certificate_configuration([found[:2]], found[2])

    def _read(self) -> tuple[bytes, bytes, bytes]:
        files = self._files
        check_pair(files.server, files.server_key, files.ca)
        return read_pem(files.server_key), read_pem(files.server), read_pem(files.ca)


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    """A client's."""
    check_pair(identity.certificate, identity.key, identity.ca)
    return grpc.ssl_channel_credentials(
        read_pem(identity.ca), read_pem(identity.key), read_pem(identity.certificate)
    )
