"""What is no file, or a hostile one, in the place of each that an operator names: an error, and no wait."""

import gzip
import io
import os
import signal
import tarfile

import pytest
from tests.support.daemon import lineside

from lineside.cli import main

WAIT_S = 20
DEEP = "a = " + "[" * 5000


@pytest.fixture
def folder(tmp_path):
    for name in ("pipe", "pipe.yaml", "pipe.csv"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "deep.toml").write_text(DEEP)
    (tmp_path / "nul.toml").write_text('state_dir = "a\\u0000b"')
    (tmp_path / "deep.tar").write_bytes(archive(b'{"x":' * 20_000))
    return tmp_path


def archive(manifest):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        header = tarfile.TarInfo("manifest.json")
        header.size = len(manifest)
        tar.addfile(header, io.BytesIO(manifest))
    return gzip.compress(packed.getvalue())


@pytest.fixture
def run(capsys):
    """run(argument, ...): status, output and errors of a command; its end, should it wait."""

    def waits(*_):
        raise AssertionError("it waits")

    def run(*arguments):
        before = signal.signal(signal.SIGALRM, waits)
        signal.alarm(WAIT_S)
        try:
            return main(list(map(str, arguments))), *capsys.readouterr()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    return run


def configured(folder, lines):
    path = folder / "lineside.toml"
    first = f'state_dir = "{folder / "state"}"\n[grpc]\nport = 0\n[diagnosis]\nmode = "rules"\n'
    path.write_text(f"{first}{lines}\n")
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deep.toml", "it is nested deeper than 32 levels\n  what to do: correct the file's syntax"),
        ("nul.toml", "'state_dir' has a NUL character"),
        ("pipe", "is no plain file\n  what to do: name an existing file with --config"),
    ],
)
@pytest.mark.parametrize("command", [("serve",), ("backup", "target")], ids=["serve", "backup"])
def test_a_configuration(folder, run, command, name, said):
    status, _, error = run(*command, "--config", folder / name)
    assert status == 1
    assert f"{folder / name}: {said}" in error


@pytest.mark.parametrize("name", ["deep.toml", "nul.toml", "pipe"])
def test_doctor_finds_the_configuration_unusable_and_looks_at_the_rest(folder, run, name):
    _, shown, error = run("doctor", "--config", folder / name)
    assert f"PROBLEM  configuration: {folder / name}" in shown
    assert "knowledge.base" in shown
    assert error == ""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('[mqtt]\nmappings = ["deep.toml"]', "read mapping: {}/deep.toml: it is nested deeper"),
        ('[mqtt]\nmappings = ["pipe"]', "read mapping: {}/pipe: is no plain file"),
        (
            '[mqtt]\nbroker = "external"\nuser = "a"\npassword_file = "{}/pipe"',
            "password_file: {}/pipe: is no",
        ),
        ('[mqtt]\nbroker = "external"\nca_file = "{}/pipe"', "key_file: {}/pipe: is no plain file"),
        ('[journal]\npath = "{}/pipe"', "open journal: {}/pipe: is no plain file"),
        ('[knowledge]\npath = "{}/pipe"', "{}/pipe cannot be used: is no plain file"),
        ('[devices]\npath = "{}/pipe"', "{}/pipe cannot be used: is no plain file"),
    ],
    ids=["deep mapping", "mapping", "password", "authority", "journal", "knowledge", "devices"],
)
def test_what_a_configuration_names(folder, lines, said):
    config = configured(folder, lines.replace("{}", str(folder)))
    done = lineside("serve", "--config", config, timeout=WAIT_S)
    assert done.returncode == 1
    assert said.replace("{}", str(folder)) in done.stderr.decode()


def test_doctor_does_not_wait_for_a_pipe(folder, run):
    config = configured(folder, f'[knowledge]\npath = "{folder}/pipe"\n[journal]\npath = "{folder}/pipe"')
    _, shown, _ = run("doctor", "--config", config)
    assert f"PROBLEM  knowledge.base: {folder}/pipe cannot be used: is no plain file" in shown
    assert f"PROBLEM  journal.file: {folder}/pipe: it is no plain file" in shown


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("kb", "import", "pipe.yaml"), "pipe.yaml: is no plain file"),
        (("devices", "import", "pipe.csv"), "pipe.csv: is no plain file"),
        (("restore", "pipe"), "pipe: is no plain file\n  what to do: name the file that lineside backup"),
        (("restore", "deep.tar"), "its manifest cannot be used: maximum recursion depth"),
        (("mapping", "try", "pipe", "message", "--topic", "a"), "pipe: is no plain file"),
        (("mapping", "try", "deep.toml", "message", "--topic", "a"), "deep.toml: it is nested deeper"),
    ],
    ids=["manual", "devices", "archive", "hostile archive", "mapping", "deep mapping"],
)
def test_what_a_command_names(folder, run, command, said):
    given = [folder / part if (folder / part).exists() else part for part in command]
    status, _, error = run(*given, "--config", configured(folder, ""))
    assert status == 1
    assert said in error


def test_a_report_has_a_bound(run):
    assert "/dev/zero: has more than 1048576 bytes" in run("diagnose", "/dev/zero")[2]
