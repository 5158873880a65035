"""`lineside feedback` where no daemon has run yet: it tells, and begins no file."""

import pytest

from lineside.cli import main


@pytest.fixture
def run(tmp_path, capsys):
    """run(arguments): exit status, standard output and standard error, over an empty state directory."""
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "lineside.toml"
    config.write_text(f'state_dir = "{state}"\n')

    def command(*arguments):
        status = main(["feedback", *arguments, "--config", str(config)])
        assert list(state.iterdir()) == [], "nothing is begun by looking"
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def test_nothing_waits(run):
    assert run("list") == (0, "none waits; --all shows the decided ones\n", "")
    assert run("list", "--all") == (0, "none\n", "")


def test_nothing_is_exported(run, tmp_path):
    assert run("export") == (0, "", "")
    assert run("export", str(tmp_path / "out.jsonl"))[1].startswith("0 verdicts in ")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve", "77ab", "--by", "N", "--role", "lead"),
        ("reject", "77ab", "--by", "N", "--role", "lead"),
        ("add", "01M8AEXHD3P40E27S0WG026DDF", "right", "--by", "N", "--role", "fitter"),
    ],
)
def test_what_needs_a_diagnosis_tells_that_there_was_none(run, arguments):
    status, _, told = run(*arguments)
    assert status == 1
    assert "feedback.db is not there: no diagnosis was given here" in told
    assert "--config" in told
