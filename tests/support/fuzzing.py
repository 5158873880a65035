"""Fuzzing: what takes bytes from others, the inputs it begins with, and what it may do with them.

Each target takes any bytes and returns, or raises an error of the product's own family. With Atheris, where
it is installed, coverage leads; without, inputs are only changed at random.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/corpus"
# No input may take longer, nor the process more memory.
TIMEOUT_S, LIMIT_MB = 10, 1024
MAX_BYTES = 70_000
TOKENS = (
    *(
        b"[",
        b"{",
        b'"',
        b"\\u0000",
        b"\xff\xfe",
        b"\0",
        b"-1e999",
        b"9" * 40,
        b"NaN",
        b"null",
        b"&a ",
        b"*a",
        b"!!",
    ),
    *(
        b"[[",
        b"]]",
        b"a.b.c.",
        b"%",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"\r\n\r\n",
        b",",
        b";",
        b"\t",
        b"|",
        b"1:",
    ),
)

Target = Callable[[bytes], None]


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """One of the seeds, or two put together, with a few changes."""
    content = bytearray(chance.choice(seeds))
    if chance.random() < 0.2:
        other = chance.choice(seeds)
        content[chance.randrange(len(content) + 1) :] = other[chance.randrange(len(other) + 1) :]
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at, length = chance.randrange(len(content) + 1), chance.choice((1, 1, 2, 8, 64))
        match chance.randrange(6):
            case 0:
                content[at : at + length] = chance.randbytes(length)
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = chance.choice(TOKENS) * chance.choice((1, 1, 1, 3, 50, 2000))
            case 3:
                content[at:at] = content[at : at + length] * chance.choice((1, 5, 100))
            case 4 if at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            case _:
                content[at : at + 1] = bytes([chance.choice(b"0123456789.eE+-")])
    return bytes(content[:MAX_BYTES])


def in_file(read: Callable[[Path], object], name: str) -> Target:
    """A target that reads a file."""
    path = Path(tempfile.mkdtemp(prefix="lineside-fuzz-", dir=_memory())) / name

    def target(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    return target


def targets() -> dict[str, tuple[Target, list[bytes]]]:
    """Every target by its name, and its seeds."""
    from lineside.config import load_config
    from lineside.devices.importing import import_devices
    from lineside.diagnosis.knowledge.calibration_file import read_calibration
    from lineside.diagnosis.knowledge.importers.files import HowToRead, read_file
    from lineside.diagnosis.knowledge.importers.records import entry_of
    from lineside.diagnosis.report import parse_report
    from lineside.engine.bundle import read_manifest
    from lineside.feedback.verdict import parse_feedback
    from lineside.gateways.gateways import load_gateways
    from lineside.gateways.mapping import read_mappings
    from lineside.transport.mqtt.intake import read_envelope
    from lineside.transport.mqtt.topics import decode_device, default_reply, device_levels

    demo = ROOT / "demo"
    faults, mappings = _contents(demo / "faults", "*.json"), _contents(demo / "gateways", "*.toml")
    gateways = load_gateways(sorted((demo / "gateways").glob("*.toml")), "Asia/Shanghai")

    def knowledge(path: Path) -> None:
        problems: list[object] = []
        for raw in read_file(path, HowToRead(), problems).raws:
            entry_of(raw, problems)

    def gateway(content: bytes) -> None:
        topic, _, payload = content.partition(b"\n")
        gateways.read(topic.decode("utf-8", "replace"), payload)

    def topic(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        decode_device(device_levels(f"lineside/v1/fault/{text}"))
        default_reply(f"lineside/v1/fault/{text}")

    payloads = [
        f"{filter_.replace('+', 'x').replace('#', 'y')}\n".encode() + content
        for filter_ in gateways.filters
        for content in _contents(demo / "gateways", "*[!l]")
    ]
    manuals = _contents(demo / "knowledge", "*.yaml")
    table = b'code,title,cause,action\nF1,Too hot,"Fan, dirty",Clean\nF2;x;y\n'
    lines = b'{"code":"F1","en":{"title":"Too hot","causes":["a"]}}\n'
    page = b"# F1 Too hot\n\nCause: fan\n\n| code | title |\n|---|---|\n| F2 | Cold |\n"
    return {
        "report": (_all(parse_report), faults),
        "envelope": (_all(read_envelope), [*faults, b'{"reply_to":"a/b","request_id":"x","id":"y"}']),
        "verdict": (
            _all(parse_feedback),
            [b'{"diagnosis_id":"x","verdict":"right","comment":"y","by":{"name":"z"}}'],
        ),
        "topic": (topic, [b"L1/CD-07", b"%2F%zz/+/#"]),
        "gateway": (gateway, payloads),
        "config": (in_file(load_config, "a.toml"), [_CONFIG]),
        "mapping": (in_file(lambda path: list(read_mappings(path)), "a.toml"), mappings),
        "calibration": (
            in_file(read_calibration, "a.toml"),
            _contents(ROOT / "daemon", "**/calibration.toml"),
        ),
        "manifest": (in_file(lambda path: read_manifest(path.parent), "bundle.toml"), [_MANIFEST]),
        "devices": (
            in_file(lambda path: import_devices(path.with_name("a.json"), [path]), "a.csv"),
            [b"id,line,cell\nL1/CD-07,1,2\n"],
        ),
        **{
            f"knowledge{ending}": (in_file(knowledge, f"a{ending}"), seeds)
            for ending, seeds in (
                (".yaml", manuals),
                (".json", [b"[" + lines.strip() + b"]"]),
                (".jsonl", [lines * 2]),
                (".csv", [table, table.replace(b",", b"\t")]),
                (".md", [page]),
                (".html", [b"<table><tr><th>code<th>title<tr><td rowspan=2>F1<td>Hot</table>"]),
            )
        },
    }


def fuzz(name: str, seconds: float, chance: random.Random) -> int:
    """Try changed inputs at random; how many. Whatever is not in the product's family of errors is raised."""
    target, seeds = targets()[name]
    seeds = [*seeds, *corpus(name)]
    end_s, runs = time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        tried(name, target, mutated(seeds, chance))
        runs += 1
    return runs


def tried(name: str, target: Target, content: bytes) -> None:
    """One input; what it breaks is kept beside."""
    from lineside.errors import LinesideError, RejectedError

    begun_s = time.monotonic()
    try:
        with contextlib.suppress(LinesideError, RejectedError):
            target(content)
        took_s = time.monotonic() - begun_s
        assert took_s < TIMEOUT_S, f"{name}: {took_s:.1f} s"
    except BaseException:
        found = (
            Path(os.environ.get("LINESIDE_FUZZ_FOUND", tempfile.gettempdir()))
            / f"{name}-{len(content)}.found"
        )
        found.write_bytes(content)
        sys.stderr.write(f"\n{name}: {found}\n")
        raise


def corpus(name: str) -> list[bytes]:
    """What was found before."""
    return _contents(CORPUS / name, "*")


def main() -> None:
    """fuzzing NAME SECONDS SEED: for one target; prints the number of inputs. Atheris prints its own."""
    name, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write(f"{fuzz(name, seconds, random.Random(seed))}\n")
        return
    import atheris

    with atheris.instrument_imports(include=["lineside"]):
        target, seeds = targets()[name]
    with tempfile.TemporaryDirectory() as place:
        for number, content in enumerate([*seeds, *corpus(name)]):
            (Path(place) / str(number)).write_bytes(content)
        options = [f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-max_len={MAX_BYTES}"]
        options += [f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={LIMIT_MB}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, place], lambda content: tried(name, target, content))
        atheris.Fuzz()


def _all(parse: Callable[[bytes], object]) -> Target:
    return lambda content: parse(content) and None


def _contents(place: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(place.glob(pattern)) if path.is_file()]


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


_CONFIG = b"""state_dir = "/x"
[engine]
slots = 4
[mqtt]
port = 1883
mappings = ["a.toml"]
[telemetry]
metrics = "[::1]:9464"
[[power.schedule]]
from = "06:00"
to = "22:00"
limit_w = 10.5
"""
_MANIFEST = b"""schema_version = 1
name = "tiny"
architecture = "qwen2"
precision = "fp32"
max_seq_len = 64
[source]
sha256 = "00"
[geometry]
layers = 1
[[plan]]
file = "step.plan"
"""

if __name__ == "__main__":
    main()
