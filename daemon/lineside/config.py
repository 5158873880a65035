"""Configuration: TOML in, frozen structs out, parsed once. Knows nothing of what the values are used for."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lineside.errors import LinesideError
from lineside.power.schedule import Period, Watts
from lineside.toml_file import TomlError, read_toml

SYSTEM_CONFIG = Path("/etc/lineside/lineside.toml")

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


# A power mode by its name in the board's table, or by its ID.
PowerModeName = Annotated[str, msgspec.Meta(max_length=64)] | Annotated[int, msgspec.Meta(ge=0, le=255)]


class ConfigError(LinesideError):
    """A configuration that the daemon does not start with."""


class BundleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[bundle]. `path` empty: `bundle` in the state directory."""

    path: str = ""


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engine]. `threads` 0: one for each processor core that the daemon may use.

    `kept_entries`: of the manuals, that are read before they are asked for, where a model makes diagnoses.
    `kv_budget_mb`: MiB for all caches; no more of all these and `slots` than fit. 0: as these say.
    """

    name: Literal["auto", "tensorrt", "onnxruntime-cuda", "onnxruntime", "rules"] = "auto"
    slots: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    kept_prefixes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 2
    kept_entries: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 16
    kv_budget_mb: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 0
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    max_chunk_tokens: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    max_waiting: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    default_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] = 60_000
    default_max_tokens: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 256


class GrpcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[grpc]. `port` 0 lets the system choose one, which the log then names.

    `tls`: with the certificates of [security] certs_dir, and for clients that show one of the same authority.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 50051
    tls: bool = False
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=67_108_864)] = 1_048_576
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 128


class MqttConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[mqtt]. `broker`: managed (a Mosquitto of the daemon's own), external, or off.

    `mappings`: files, relative to the configuration's directory. `forms`: how answers are published, too.
    `interface`: where the managed broker listens with TLS beside loopback, by its name or address.

    `occurrence_s`: an alarm that is reported again within that is the same; 0: each report is one.
    `group_ms`: alarms of one line within that are a group, of which the first out is diagnosed; 0: none are.
    `retained`: retained messages are taken, too.

    `power`: whoever can publish on lineside/v1/power/set/<client_id> is an operator.
    """

    broker: Literal["managed", "external", "off"] = "managed"
    host: str = "127.0.0.1"
    port: Port = 1883
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "lineside"
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    interface: Annotated[str, msgspec.Meta(max_length=64)] = ""
    interface_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 8883
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, msgspec.Meta(ge=60, le=4_294_967_294)] = 604_800
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 16
    max_pending_reports: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    mappings: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    forms: tuple[Literal["brief", "text", "alarm"], ...] = ()
    alarm_expiry_s: Annotated[int, msgspec.Meta(ge=60, le=4_294_967_294)] = 604_800
    occurrence_s: Annotated[int, msgspec.Meta(ge=0, le=604_800)] = 600
    group_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 2000
    retained: bool = False
    reply_topics: tuple[str, ...] = ("lineside/reply/#", "response/#")
    managed_dir: str = ""
    mosquitto: str = ""
    power: bool = False

    def __post_init__(self) -> None:
        """Refuses what would make everybody an operator, or nobody."""
        if not self.power:
            return
        if self.broker == "managed" and not self.interface:
            raise ValueError(
                "power = true needs interface, where operators show a certificate: on loopback every user of "
                "this machine would be one (docs/power.md)"
            )
        if self.broker == "external" and not (self.user or self.cert_file):
            raise ValueError(
                "power = true needs user and password_file, or cert_file: a broker that takes the daemon "
                "without cannot tell operators from others (docs/power.md)"
            )


class PlantConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[plant]. `timezone` empty: the machine's own."""

    locale: Literal["en", "zh"] = "en"
    timezone: str = ""


class KnowledgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[knowledge]. `path` empty: `knowledge.db` in the state directory.

    `vectors` auto: texts are searched by meaning, too, where the bundle carries an embedder.
    """

    path: str = ""
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=8)] = 3
    vectors: Literal["auto", "off"] = "auto"


class DevicesConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[devices]. `path` empty: `devices.json` in the state directory."""

    path: str = ""


class DiagnosisConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[diagnosis]. `mode` model: the bundle's model ranks what was retrieved. rules: no bundle is loaded.

    auto: the model serves generations, and diagnoses are by rules, which no measured model clearly beat
    (docs/evaluation.md).

    `thinking_tokens`: how long a reasoning model may think before it answers; unset: as its bundle says.
    `calibration` empty: `calibration.toml` in the state directory, where there is one.
    `rereading` auto: a model that the calibration knows reads what was found in another language.
    """

    mode: Literal["auto", "model", "rules"] = "auto"
    thinking_tokens: Annotated[int, msgspec.Meta(ge=0, le=4096)] | None = None
    calibration: str = ""
    rereading: Literal["auto", "off"] = "auto"

    @property
    def by(self) -> Literal["model", "rules"]:
        """What makes diagnoses."""
        return "model" if self.mode == "model" else "rules"


class FeedbackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[feedback]. `path` empty: `feedback.db` in the state directory."""

    path: str = ""
    keep_diagnoses: Annotated[int, msgspec.Meta(ge=100, le=10_000_000)] = 20_000
    max_bytes: Annotated[int, msgspec.Meta(ge=16_777_216)] = 268_435_456


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[journal]. `path` empty: `journal.db` in the state directory."""

    path: str = ""
    keep_answers: Annotated[int, msgspec.Meta(ge=100, le=10_000_000)] = 100_000
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 90
    max_bytes: Annotated[int, msgspec.Meta(ge=16_777_216)] = 1_073_741_824


class PowerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[power]. `limit_w` 0: no limit. `mode` empty: as it is. `root`: where /sys and /proc are found."""

    limit_w: Watts = 0.0
    mode: PowerModeName = ""
    temperature_max_c: Annotated[float, msgspec.Meta(ge=40, le=100)] = 85.0
    schedule: Annotated[tuple[Period, ...], msgspec.Meta(max_length=16)] = ()
    operators: tuple[str, ...] = ()
    helper_socket: str = "/run/lineside/power.sock"
    jtop: bool = False
    root: str = "/"


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[telemetry]. `audit`: whether each request is recorded, and whether with what was sent.

    `metrics`: where Prometheus may scrape, as host:port; empty: nowhere.

    Nothing there is encrypted and nobody is asked who they are: `metrics_on_network` allows other hosts than
    loopback.
    """

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    audit: Literal["on", "payload", "off"] = "on"
    metrics: str = ""
    metrics_on_network: bool = False

    def __post_init__(self) -> None:
        """Refuses what is no address, and one that others reach without a word about them."""
        if not self.metrics:
            return
        host, _ = host_and_port(self.metrics)
        if not (is_loopback(host) or self.metrics_on_network):
            raise ValueError(
                f"metrics = {self.metrics!r} can be reached from the network, unencrypted and by everyone: "
                "set metrics_on_network = true where that is wanted, or listen on 127.0.0.1"
            )


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SecurityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[security]. `operators`: names of client certificates.

    `certs_dir` empty: `certs` in the state directory.
    """

    certs_dir: str = ""
    operators: Annotated[tuple[Name, ...], msgspec.Meta(max_length=256)] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Every value has a default under which the daemon starts."""

    state_dir: str = ""
    drain_timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 10_000
    bundle: BundleConfig = BundleConfig()
    engine: EngineConfig = EngineConfig()
    grpc: GrpcConfig = GrpcConfig()
    mqtt: MqttConfig = MqttConfig()
    plant: PlantConfig = PlantConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    devices: DevicesConfig = DevicesConfig()
    diagnosis: DiagnosisConfig = DiagnosisConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    journal: JournalConfig = JournalConfig()
    power: PowerConfig = PowerConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    security: SecurityConfig = SecurityConfig()

    def state_path(self, configured: str, name: str) -> Path:
        """`configured` where it is set, else `name` in the state directory."""
        if configured:
            return Path(configured)
        return (Path(self.state_dir) if self.state_dir else default_state_dir()) / name

    @property
    def bundle_path(self) -> Path:
        """Directory of the bundle."""
        return self.state_path(self.bundle.path, "bundle")

    @property
    def knowledge_path(self) -> Path:
        """The knowledge base's SQLite file."""
        return self.state_path(self.knowledge.path, "knowledge.db")

    @property
    def calibration_path(self) -> Path | None:
        """The plant's own calibration; None: the one that is shipped."""
        path = self.state_path(self.diagnosis.calibration, "calibration.toml")
        return path if self.diagnosis.calibration or path.exists() else None

    @property
    def devices_path(self) -> Path:
        """The device registry's file."""
        return self.state_path(self.devices.path, "devices.json")

    @property
    def feedback_path(self) -> Path:
        """The feedback's SQLite file."""
        return self.state_path(self.feedback.path, "feedback.db")

    @property
    def journal_path(self) -> Path:
        """The journal's SQLite file."""
        return self.state_path(self.journal.path, "journal.db")

    @property
    def certs_path(self) -> Path:
        """Directory of the certificates."""
        return self.state_path(self.security.certs_dir, "certs")

    @property
    def power_setting_path(self) -> Path:
        """What an operator has set at run time."""
        return self.state_path("", "power-setting.json")

    @property
    def power_control_path(self) -> Path:
        """The socket that operators set it through."""
        return self.state_path("", "power-control.sock")

    @property
    def power_originals_path(self) -> Path:
        """What the daemon found before it changed the board's settings."""
        return self.state_path("", "power-originals.json")

    @property
    def managed_broker_path(self) -> Path:
        """Directory of the managed Mosquitto."""
        return self.state_path(self.mqtt.managed_dir, "mosquitto")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_and_port(address: str) -> tuple[str, int]:
    """An IP address, or localhost, and a port; IPv6 in brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{address!r} has no port: write it as 127.0.0.1:9464 or [::1]:9464")
    if bare != "localhost":
        try:
            version = ipaddress.ip_address(bare).version
        except ValueError:
            raise ValueError(f"{host!r} is no IP address: write it as 127.0.0.1:9464") from None
        if (version == 6) is (bare == host):
            raise ValueError(f"{address!r}: IPv6 addresses, and no others, stand in brackets: [::1]:9464")
    return bare, int(port)


def default_state_dir() -> Path:
    """systemd's StateDirectory, else /var/lib/lineside for root, else the user's XDG state directory."""
    if from_systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(from_systemd.split(":", maxsplit=1)[0])
    if os.geteuid() == 0:
        return Path("/var/lib/lineside")
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "lineside"
    except RuntimeError:
        message = "the user has no home directory"
        raise ConfigError("find state directory", message, "set state_dir in the configuration") from None


def load_config(path: Path | None) -> Config:
    """Read `path`; without one, /etc/lineside/lineside.toml where it exists, else the defaults."""
    if path is None:
        if not SYSTEM_CONFIG.exists():
            return Config()
        path = SYSTEM_CONFIG
    try:
        raw = read_toml(path)
    except OSError as error:
        hint = "name an existing file with --config, or leave it out to use the defaults"
        raise ConfigError("read configuration", f"{path}: {error.strerror}", hint) from error
    except TomlError as error:
        raise ConfigError("read configuration", f"{path}: {error}", "correct the file's syntax") from error
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        hint = "the configuration section of README.md lists every key"
        raise ConfigError("read configuration", f"{path}: {error}", hint) from error
    mappings = tuple(str(path.parent / name) for name in config.mqtt.mappings)
    return msgspec.structs.replace(config, mqtt=msgspec.structs.replace(config.mqtt, mappings=mappings))
