"""How the daemon presents itself to the broker: credentials, session, will. Knows nothing of its messages."""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.plain_files import open_plain, read_plain
from lineside.transport.mqtt.topics import status_topic

logger = logging.getLogger("lineside.transport.mqtt")

CONNECT_S = 5.0
MAX_PACKET_BYTES = 1_048_576
MAX_PASSWORD_BYTES = 65_536
JSON = "application/json"
# More than are ever waiting: what is published is bounded before paho queues it.
MAX_QUEUED = 128

IN_USE = (
    "client id in use: another client has this one; give each board a machine id of its own "
    "(a cloned one: systemd-machine-id-setup after removing /etc/machine-id) or set [mqtt] client_id"
)
HINTS = {
    0x84: "the daemon needs a broker that speaks MQTT 5",
    0x85: "set [mqtt] client_id to what the broker takes",
    0x86: "set [mqtt] user and password_file to what the broker knows",
    0x87: "set [mqtt] user and password_file; that user reads fault, feedback, power/set and writes the rest",
    0x8C: "set [mqtt] user and password_file to what the broker knows",
    0x8E: IN_USE,
}


class BeatingClient(Client):
    """paho's client, which also tells when its thread last came round: each second, however quiet it is."""

    beats = 0

    def loop_misc(self) -> MQTTErrorCode:
        """See paho."""
        self.beats += 1
        return super().loop_misc()

    def _handle_publish(self) -> MQTTErrorCode:
        """See paho, which leaves the broker at what MQTT forbids.

        Mosquitto 2.0 passes such a message on, and again after each connect: it would keep us away for ever.
        """
        try:
            return super()._handle_publish()
        except MalformedPacket as error:
            logger.warning("a message that MQTT forbids is given up: %s", error)
            return self.ack(*message_id(self._in_packet["command"], bytes(self._in_packet["packet"])))


def message_id(command: int, packet: bytes) -> tuple[int, int]:
    """The identifier of a PUBLISH, which stands behind its topic, and its QoS."""
    topic_bytes = int.from_bytes(packet[:2], "big")
    return int.from_bytes(packet[2 + topic_bytes : 4 + topic_bytes], "big"), command >> 1 & 3


def session_id(config: MqttConfig, machine_id: Path = Path("/etc/machine-id")) -> str:
    """The client id: ours and the machine's, so that two boards with one configuration are two clients.

    Of the machine's id only a digest is shown. A machine without one has the configured id alone.
    """
    try:
        machine = machine_id.read_bytes().strip()
    except OSError:
        machine = b""
    if not machine:
        return config.client_id
    return f"{config.client_id}-{hashlib.sha256(b'lineside ' + machine).hexdigest()[:12]}"


def make_client(config: MqttConfig, version: str) -> BeatingClient:
    """A client that has never connected. Raises LinesideError for credentials that cannot be read."""
    client = BeatingClient(
        CallbackAPIVersion.VERSION2,
        client_id=session_id(config),
        protocol=MQTTv5,
        manual_ack=True,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_S
    client.max_queued_messages_set(MAX_QUEUED)
    client.on_socket_open = no_delay
    if config.user:
        client.username_pw_set(config.user, read_password(config.password_file))
    if config.ca_file or config.cert_file:
        set_tls(client, config)
    client.will_set(
        status_topic(config.client_id),
        status_document("offline", version, config.client_id),
        qos=1,
        retain=True,
        properties=json_properties(PacketTypes.WILLMESSAGE),
    )
    return client


def connect(client: Client, config: MqttConfig) -> None:
    """Open the connection and say hello: the session outlives it. Blocks."""
    properties = new_properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = config.session_expiry_s
    properties.ReceiveMaximum = config.receive_maximum
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    client.connect(config.host, config.port, config.keepalive_s, clean_start=False, properties=properties)


def read_password(path: str) -> str | None:
    """The first line of the password file."""
    if not path:
        return None
    try:
        return read_plain(Path(path), MAX_PASSWORD_BYTES).decode().partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise file_error("password_file", path, error) from error


def set_tls(client: Client, config: MqttConfig) -> None:
    """TLS with what the configuration names."""
    try:
        for name in filter(None, (config.ca_file, config.cert_file, config.key_file)):
            open_plain(Path(name)).close()  # OpenSSL would wait for a pipe's other end
        client.tls_set(
            ca_certs=config.ca_file or None,
            certfile=config.cert_file or None,
            keyfile=config.key_file or None,
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise file_error("ca_file, cert_file, key_file", config.ca_file or config.cert_file, error) from error


def file_error(key: str, path: str, error: Exception) -> LinesideError:
    """The error of a file that cannot be used."""
    hint = "name a file that the daemon's user can read"
    said = (isinstance(error, OSError) and error.strerror) or error
    return LinesideError("read the broker's credentials", f"[mqtt] {key}: {path}: {said}", hint)


def no_delay(_client: Client, _userdata: Any, sock: Any) -> None:
    """Send small packets at once: they would wait for the acknowledgement of the one before, up to 40 ms."""
    tcp = sock if isinstance(sock, (socket.socket, ssl.SSLSocket)) else None
    if tcp is not None:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def status_document(state: str, version: str, client_id: str) -> bytes:
    """What stands retained under the status topic: online, stopped or offline."""
    return msgspec.json.encode({"v": 1, "status": state, "version": version, "client_id": client_id})


def new_properties(packet: int) -> Properties:
    """Empty properties of a kind of packet."""
    return Properties(packet)  # type: ignore[no-untyped-call] # paho leaves its constructor untyped


def json_properties(packet: int) -> Properties:
    """Properties that say that the payload is JSON."""
    properties = new_properties(packet)
    properties.ContentType = JSON
    properties.PayloadFormatIndicator = 1
    return properties


def explain(reason: ReasonCode) -> str:
    """A reason of the broker's, with what to do about it."""
    hint = HINTS.get(reason.value)
    return f"{reason.getName()}: {hint}" if hint else reason.getName()
