"""The command `lineside`: arguments in, exit status out. Knows nothing of how the work is done."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from lineside import __version__, collector
from lineside.cli_backup import add_backup
from lineside.cli_certs import add_certs
from lineside.cli_devices import add_devices
from lineside.cli_doctor import add_doctor, add_wear
from lineside.cli_eval import add_eval
from lineside.cli_feedback import add_feedback
from lineside.cli_journal import add_journal
from lineside.cli_kb import add_kb
from lineside.cli_mapping import add_mapping
from lineside.cli_power import add_power
from lineside.cli_remote import place_of, remote_options
from lineside.config import load_config
from lineside.errors import LinesideError
from lineside.plain_files import read_given
from lineside.telemetry import log


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: it failed, with the reason and what to do on standard error; 2: usage."""
    # numpy's threads would wait for the engine's, on the same cores, far longer than our products take.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parsed = _parser().parse_args(arguments)
    try:
        code = int(parsed.run(parsed) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # As `head` does once it has its lines. What Python would still write at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except LinesideError as error:
        print(f"lineside: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _serve(arguments: argparse.Namespace) -> None:
    collector.pause()
    # grpc has no setting for the oldest TLS that it takes, only this for the cipher suites of TLS 1.2, which
    # it reads when it is imported: it is left one that needs a key shared beforehand, which no peer has.
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"
    from lineside.backup.parts import place  # noqa: PLC0415
    from lineside.backup.restore import finish_begun  # noqa: PLC0415
    from lineside.beginning import begun  # noqa: PLC0415  (the other commands need no engine)

    finish_begun(place(arguments.config))
    config = load_config(arguments.config)
    log.set_up(config.telemetry.log_level)
    # A watchdog ends a stuck daemon with SIGABRT: where every thread was is then in the log.
    faulthandler.enable()
    with begun(config) as beginning:
        from lineside.app import serve  # noqa: PLC0415  (while the model is loaded)

        anyio.run(serve, config, beginning, lambda: load_config(arguments.config))


def _broker(arguments: argparse.Namespace) -> None:
    from lineside.transport.mqtt.lan import lan_of  # noqa: PLC0415
    from lineside.transport.mqtt.mosquitto import run_broker  # noqa: PLC0415

    config = load_config(arguments.config)
    lan = lan_of(config, arguments.certs or config.certs_path)
    run_broker(config.mqtt, arguments.directory, lan, arguments.password_file)


def _diagnose(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from lineside.diagnosis.diagnosis import Diagnosis  # noqa: PLC0415
    from lineside.diagnosis.render import render, render_text  # noqa: PLC0415
    from lineside.transport.grpc import client  # noqa: PLC0415

    report = _read(arguments.report)
    payload = client.diagnose(place_of(arguments), report, arguments.timeout)
    if arguments.json:
        print(payload.decode())
    else:
        diagnosis, console = msgspec.json.decode(payload, type=Diagnosis), Console()
        if console.is_terminal:
            console.print(render(diagnosis))
        else:  # what reads a pipe wants lines as they are, not as wide as a terminal
            print(render_text(diagnosis), end="")


def _status(arguments: argparse.Namespace) -> None:
    import msgspec  # noqa: PLC0415

    from lineside.transport.grpc import client  # noqa: PLC0415

    status = msgspec.to_builtins(client.status(place_of(arguments)))
    status["uptime_s"] = round(status["uptime_s"], 1)
    if status["engine"]:
        # It does not travel.
        del status["engine"]["vocab_size"]
    print(json.dumps(status, indent=2, ensure_ascii=False))


def _schema(arguments: argparse.Namespace) -> None:
    from lineside.diagnosis.schemas import json_schemas  # noqa: PLC0415

    print(json.dumps(json_schemas()[arguments.document], indent=2, ensure_ascii=False))


def _read(name: str) -> bytes:
    try:
        return read_given(name)
    except OSError as error:
        hint = "name a file with a report in JSON, or - for standard input"
        raise LinesideError("read report", f"{name}: {error.strerror}", hint) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lineside", description="Fault reports in, cited diagnoses out.")
    parser.add_argument("--version", action="version", version=f"lineside {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    # Suppressed: a command of `kb` must not put its own default over what stood before its name.
    common.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="default: /etc/lineside/lineside.toml",
    )
    parser.set_defaults(config=None)
    remote = remote_options(common, "a daemon; default: the configuration's")

    serve = commands.add_parser("serve", parents=[common], help="run the daemon")
    serve.set_defaults(run=_serve)

    broker = commands.add_parser(
        "broker", parents=[common], help="run the broker by itself, for a service manager"
    )
    broker.add_argument(
        "--directory", type=Path, required=True, metavar="DIR", help="where it keeps its queues"
    )
    broker.add_argument(
        "--certs", type=Path, metavar="DIR", help="certificates; default: [security] certs_dir"
    )
    broker.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="what the daemon shows where [mqtt] power is true; default: [mqtt] password_file",
    )
    broker.set_defaults(run=_broker)

    diagnose = commands.add_parser("diagnose", parents=[remote], help="ask the daemon for a diagnosis")
    diagnose.add_argument("report", metavar="FILE", help="a report in JSON; - for standard input")
    diagnose.add_argument("--json", action="store_true", help="the document, not the text for people")
    diagnose.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds (default: 60)")
    diagnose.set_defaults(run=_diagnose)

    status = commands.add_parser("status", parents=[remote], help="ask the daemon how it is")
    status.set_defaults(run=_status)

    schema = commands.add_parser("schema", help="print a document's JSON Schema")
    schema.add_argument("document", choices=("report", "diagnosis", "brief", "feedback", "receipt"))
    schema.set_defaults(run=_schema)

    add_kb(commands, common)
    add_devices(commands, common)
    add_mapping(commands, common)
    add_power(commands, common)
    add_certs(commands, common)
    add_eval(commands, common)
    add_feedback(commands, common)
    add_journal(commands, common)
    add_backup(commands, common)
    add_doctor(commands, common)
    add_wear(commands)
    return parser
