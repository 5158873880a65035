"""Mosquitto's program, configuration and directory. Knows nothing of when it runs."""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import shutil
import stat
from pathlib import Path

from lineside.config import MqttConfig
from lineside.errors import LinesideError
from lineside.transport.mqtt.lan import Lan, prepare
from lineside.transport.mqtt.local import Login, prepare_local
from lineside.transport.mqtt.session import read_password

OPERATION = "start the managed broker"
HOST = "127.0.0.1"
USER = "mosquitto"
CONFIG_NAME = "mosquitto.conf"
# Distributions install it where PATH does not lead everyone.
OTHER_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")
MAX_PACKET_BYTES = 1_048_576
MAX_QUEUED_BYTES = 67_108_864
MAX_CONNECTIONS = 2000
# What it may have open: both listeners' connections, and its files.
DESCRIPTORS, OWN_DESCRIPTORS = 8192, 64
# autosave: each change is on the disk before the next. Mosquitto's own default loses, with a kill, all that
# it acknowledged within half an hour.
CONFIG = """\
# Written by lineside at each start: changes are lost.
per_listener_settings true
listener {port} {host}
allow_anonymous true
{access}max_connections {connections}
set_tcp_nodelay true
persistence true
persistence_location data/
persistence_file mosquitto.db
autosave_interval 1
autosave_on_changes true
persistent_client_expiration 14d
max_packet_size {packet_bytes}
max_inflight_messages 20
max_queued_messages {queued}
max_queued_bytes {queued_bytes}
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type notice
log_type information
"""
# A client's id is the name in its certificate: it can take no other's session, nor the daemon's.
LAN_CONFIG = """
listener {port} {address}
allow_anonymous false
max_connections {connections}
cafile lan/ca.pem
certfile lan/server.pem
keyfile lan/server.key
crlfile lan/crl.pem
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file lan/acl
"""


def find_mosquitto(configured: str) -> str:
    """The program."""
    for place in (configured,) if configured else ("mosquitto", *OTHER_PLACES):
        if program := shutil.which(place):
            return program
    what = f"{configured} is no program" if configured else "there is no mosquitto on this machine"
    hint = 'apt-get install mosquitto, or set [mqtt] broker = "external" with the host of yours'
    raise LinesideError(OPERATION, what, hint)


def command(program: str) -> list[str]:
    """The command line. The kernel ends the process with the daemon; run by root, it is not root.

    Mosquitto could change its user itself, but that would clear the death signal.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        hint = 'apt-get install util-linux, or set [mqtt] broker = "external"'
        raise LinesideError(OPERATION, "there is no setpriv on this machine", hint)
    user = ["--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs"] if os.geteuid() == 0 else []
    # The configuration's path is relative: that user need not be able to enter the directories above.
    return [setpriv, *user, "--pdeathsig", "TERM", "--", program, "-c", CONFIG_NAME]


def run_broker(config: MqttConfig, directory: Path, lan: Lan | None, password_file: Path | None) -> None:
    """Become a Mosquitto that outlives the daemon, configured as the daemon's own is."""
    program = find_mosquitto(config.mosquitto)
    allow_descriptors()
    prepare_directory(directory)
    login = None
    # Without the network's listener there is no operator who could come.
    if config.power and lan is not None:
        login = Login(config.user, read_password(str(password_file or config.password_file)) or "")
    try:
        write_config(directory, config, config.port, lan, login)
        os.chdir(directory)
        os.execv(program, [program, "-c", CONFIG_NAME])  # noqa: S606 - no shell, and nothing of a client's
    except OSError as error:
        raise LinesideError(
            "start the broker", f"{directory}: {error.strerror}", "name another --directory"
        ) from error


def allow_descriptors() -> None:
    """Let the broker, which inherits the limit, have more descriptors than a shell's 1024, where we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections(listeners: int) -> int:
    """Of each listener: without a descriptor left, the broker could not even save its queues."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (soft - OWN_DESCRIPTORS) // listeners))


def prepare_directory(directory: Path) -> None:
    """The daemon owns the directory and the broker its data: as the broker, nobody can plant files for us."""
    data = directory / "data"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        data.mkdir(exist_ok=True)
        if data.is_symlink():
            raise LinesideError(OPERATION, f"{data} is a link", "move it away: the broker makes its own")
        data.chmod(0o700)
        if os.geteuid() == 0:
            give_to_broker(data)
    except LookupError as error:
        hint = "apt-get install mosquitto creates it"
        raise LinesideError(OPERATION, f"there is no user {USER} to run it as", hint) from error
    except OSError as error:
        hint = "set [mqtt] managed_dir to a directory that the daemon may write"
        raise LinesideError(OPERATION, f"{directory}: {error.strerror}", hint) from error


def give_to_broker(data: Path) -> None:
    """Hand the directory and its plain files over; the broker's user must not choose other files for us."""
    user = pwd.getpwnam(USER)
    for path in (data, *data.iterdir()):
        found = path.lstat()
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if plain or path == data:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def write_config(
    directory: Path, config: MqttConfig, port: int, lan: Lan | None = None, login: Login | None = None
) -> None:
    """The configuration that `command` names, and what it names in its turn."""
    group = pwd.getpwnam(USER).pw_gid if os.geteuid() == 0 else None
    connections = max_connections(1 if lan is None else 2)
    text = CONFIG.format(
        port=port,
        host=HOST,
        access=prepare_local(login, directory, group) if login else "",
        connections=connections,
        packet_bytes=MAX_PACKET_BYTES,
        queued=config.max_pending_reports,
        queued_bytes=MAX_QUEUED_BYTES,
    )
    if lan is not None:
        address = prepare(lan, directory, group)
        text += LAN_CONFIG.format(port=lan.port, address=address, connections=connections)
    _write(directory / CONFIG_NAME, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and only what has changed: an earlier start's is of use on a disk that is full."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return
    scratch = path.with_name(f"{path.name}.new")
    scratch.write_bytes(content)
    scratch.replace(path)
