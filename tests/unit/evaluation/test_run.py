"""The suites over small data: real files, a real pipeline, a toy embedder."""

from pathlib import Path

import anyio
import msgspec
import pytest
from tests.support.toy_embedder import ToyEmbedder
from tests.unit.evaluation.evaluation_data import case, cases, write_data, write_questions
from tests.unit.evaluation.readers import Knowing, reading
from tests.unit.evaluation.test_reliability import chosen
from tests.unit.evaluation.test_sensoriq import FirstAndLiked

from lineside.cli import main
from lineside.diagnosis.knowledge.calibration_file import read_calibration
from lineside.diagnosis.knowledge.fusion import parse_calibration
from lineside.evaluation.calibrate import Asked, calibrate_file, calibration_toml
from lineside.evaluation.cases import EvaluationError
from lineside.evaluation.run import By
from lineside.evaluation.suites import SAMPLE_FIELDS, Plan, run_suite, sensoriq_by_model, sensoriq_by_rules

DEMO = Path(__file__).parents[3] / "demo"
RULES = By()


def quiet(label, total):
    return lambda: None


def run(suite, data, by=RULES, **more):
    plan = Plan(data=data, plant=DEMO, **more)
    return anyio.run(run_suite, suite, plan, by, quiet)


def test_reports_by_rules(tmp_path):
    result = run("reports", write_data(tmp_path))
    by_id = {row[0]: dict(zip(SAMPLE_FIELDS, row, strict=True)) for row in result.samples}
    assert {name for name, row in by_id.items() if row["right"]} == {"r1", "r2", "r3", "r4", "r6", "r7"}
    assert result.metrics["code_no_vendor_right"] == 1.0
    assert result.metrics["no_entry_abstained"] == 1.0
    assert result.metrics["cross_language_hit1"] == 0.0
    assert result.metrics["unsupported_statements_rules"] == 0
    assert result.metrics["citations_outside_retrieved"] == 0


def test_an_embedder_finds_across_languages(tmp_path):
    result = run("reports", write_data(tmp_path), embedder=ToyEmbedder())
    assert result.metrics["cross_language_hit1"] == 1.0


def test_a_wrong_label_is_not_met(tmp_path):
    wrong = [case(1, "code", {"code": "1"}, {"entry": "pell:drive:2"}), *cases()[1:]]
    assert run("reports", write_data(tmp_path, wrong)).metrics["code_hit1"] == 0.0


def test_the_demo_plant(tmp_path):
    result = run("plant", tmp_path)
    assert result.metrics["right"] == 1.0
    assert result.metrics["reports"] == 24


def test_a_sample_is_asked_of_the_whole_base(tmp_path):
    result = run("reports", write_data(tmp_path), sample=5)
    assert len(result.samples) <= len(cases())
    assert result.metrics["code_hit1"] == 1.0


def test_bases_are_kept_from_one_run_to_the_next(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = write_data(tmp_path)
    first = run("reports", data, scratch=scratch)
    made = {path.name: path.stat().st_mtime_ns for path in (scratch / "reports").glob("*.db")}
    second = run("reports", data, scratch=scratch)
    assert made == {path.name: path.stat().st_mtime_ns for path in (scratch / "reports").glob("*.db")}
    assert set(made) == {"full.db", "zh_only.db"}
    assert [row[:5] for row in first.samples] == [row[:5] for row in second.samples]


def test_sensoriq_by_rules_is_the_prior(tmp_path):
    result = sensoriq_by_rules(Plan(data=write_questions(tmp_path), plant=DEMO))
    assert result.metrics == {"questions": 4, "chance": 0.5, "prior": 0.5, "prior_nothing_held_out": 0.75}


def test_sensoriq_by_a_model_stands_beside_the_same_prior(tmp_path):
    plan = Plan(data=write_questions(tmp_path), plant=DEMO, questions=3)
    result = anyio.run(sensoriq_by_model, plan, "a-model", FirstAndLiked(), quiet)
    assert result.metrics["asked"] == 3
    assert result.metrics["prior"] == 0.5
    assert len(result.samples) == 3
    by_samples = [sum(row[place] for row in result.samples) / 3 for place in (2, 3)]
    found = [result.metrics[name] for name in ("accuracy_of_the_likeliest", "accuracy")]
    assert found == pytest.approx(by_samples, abs=1e-4)


def test_a_suite_without_data_fails(tmp_path):
    with pytest.raises(EvaluationError, match="No such file"):
        run("reports", tmp_path)
    with pytest.raises(EvaluationError, match="No such file"):
        sensoriq_by_rules(Plan(data=tmp_path, plant=DEMO))


def test_a_plant_without_manuals_fails(tmp_path):
    (tmp_path / "reports.jsonl").write_bytes((DEMO / "reports.jsonl").read_bytes())
    with pytest.raises(EvaluationError, match="no manuals"):
        anyio.run(run_suite, "plant", Plan(data=tmp_path, plant=tmp_path), RULES, quiet)


def labelled():
    """Enough of each kind of text, right and wrong."""
    long = "motor hot and brake stuck and then nothing else moved at all"
    reports = []
    for number, (english, _) in enumerate((("Motor hot", ""), ("Brake stuck", ""), ("Belt slips", "")), 1):
        code = {1: 1, 2: 2, 3: 4}[number]
        reports.append(case(number, "title", {"text": english}, {"entry": f"pell:drive:{code}"}))
        reports.append(
            case(number + 10, "told", {"text": f"{long} {english}"}, {"entry": f"pell:drive:{code}"})
        )
        reports.append(case(number + 20, "none", {"text": f"Door {number} open"}, {"abstain": True}))
        unknown = f"the door of cell {number} was left open by somebody on the night shift"
        reports.append(case(number + 30, "none", {"text": unknown}, {"abstain": True}))
    return reports


def test_a_calibration_is_written_and_read_back(tmp_path):
    path = tmp_path / "calibration.toml"
    data = write_data(tmp_path, labelled())
    calibration = calibrate_file(data, ToyEmbedder(), path, quiet)
    assert parse_calibration(path.read_bytes()) == calibration
    assert calibration.origin["reports"] == len(labelled())
    assert calibration.origin["embedder"] == "toy-1"
    again = calibrate_file(data, ToyEmbedder(), path, quiet)
    assert again == calibration, "the same data, the same calibration"
    for kind in ("short", "long", "foreign"):
        assert 0.25 <= calibration.weights(kind).threshold <= 0.9


def test_what_models_chose_is_calibrated_too(tmp_path):
    data, path = write_data(tmp_path, labelled()), tmp_path / "calibration.toml"
    searches = []

    def ask(calibration):
        searches.append(calibration)
        return Asked(answered={"a-model-1.5b": [chosen(number) for number in range(40)]})

    calibration = calibrate_file(data, ToyEmbedder(), path, quiet, ask)
    assert searches == [msgspec.structs.replace(calibration, models={})], (
        "asked with the search's new weights"
    )
    assert read_calibration(path, "toy-1") == calibration
    assert calibration.models["a-model-1.5b"].choice > 0
    with pytest.raises(EvaluationError, match="20 choices of the model"):
        calibrate_file(data, ToyEmbedder(), path, quiet, lambda _: Asked({"a-model": [chosen(1)]}))
    assert read_calibration(path) == calibration, "and the file is as it was"


def test_what_models_read_again_is_calibrated_too(tmp_path):
    data, path = write_data(tmp_path, labelled()), tmp_path / "calibration.toml"
    read = {"a-model-0.5b": [reading(number) for number in range(240)]}
    calibration = calibrate_file(data, ToyEmbedder(), path, quiet, lambda _: Asked(read=read))
    assert read_calibration(path, "toy-1") == calibration
    weights = calibration.reading["a-model-0.5b"]
    assert (weights.ranking, weights.gain > 0) == (0.005, True)
    with pytest.raises(EvaluationError, match="nothing to fit to"):
        calibrate_file(data, ToyEmbedder(), path, quiet, lambda _: Asked(read={"a-model": []}))
    assert read_calibration(path) == calibration, "and the file is as it was"


def test_rules_that_a_model_reads_for_are_measured_beside_those_alone(tmp_path):
    data = write_data(tmp_path)
    read = {Knowing.model_name: [reading(number) for number in range(240)]}
    calibration = calibrate_file(
        write_data(tmp_path, labelled()), ToyEmbedder(), tmp_path / "c", quiet, lambda _: Asked(read=read)
    )
    write_data(tmp_path)
    reader = Knowing()
    result = run("reports", data, By(reader=reader), embedder=ToyEmbedder(), calibration=calibration)
    assert result.mode == "rules, reread by a-model"
    assert result.metrics["cross_language_hit1"] == 1.0
    assert result.metrics["unsupported_statements_rules"] == 0
    assert {text for _, text in reader.asked} == {" belt slips again"}, "only what is in another language"
    assert len(reader.asked) == 1, "and once"


def test_the_confidence_is_measured_where_there_is_an_embedder(tmp_path):
    reports = [{**one, "id": f"{one['id']}-{turn}"} for turn in range(8) for one in labelled()]
    data = write_data(tmp_path, reports)
    rows = run("reports", data, embedder=ToyEmbedder()).reliability
    assert [row["confidence"] for row in rows] == ["uncalibrated", "fitted on the other half", "as shipped"]
    assert all(row["reports"] == len(reports) for row in rows)
    assert run("reports", data).reliability == []


def test_a_calibration_that_fits_the_data_weighs_evidence_upwards(tmp_path):
    calibration = calibrate_file(write_data(tmp_path, labelled()), ToyEmbedder(), tmp_path / "c", quiet)
    assert calibration.short.words > 0
    assert calibration.foreign.vector > 0


def test_a_calibration_asks_for_an_embedder_and_for_labels(tmp_path):
    data = write_data(tmp_path, labelled())
    with pytest.raises(EvaluationError, match="no embedder") as caught:
        calibrate_file(data, None, tmp_path / "c", quiet)
    assert "--bundle" in caught.value.hint
    with pytest.raises(EvaluationError, match="the labelled data has no"):
        calibrate_file(write_data(tmp_path, labelled()[:1]), ToyEmbedder(), tmp_path / "c", quiet)
    assert not (tmp_path / "c").exists()


def test_toml_of_a_calibration_quotes_what_it_must(tmp_path):
    calibration = calibrate_file(write_data(tmp_path, labelled()), ToyEmbedder(), tmp_path / "c", quiet)
    odd = msgspec.structs.replace(calibration, origin={"said": 'a "quoted" 电机'})
    assert parse_calibration(calibration_toml(odd).encode()) == odd


def test_the_command_writes_metrics_and_samples(tmp_path, capsys):
    write_questions(write_data(tmp_path))
    out = tmp_path / "out.json"
    arguments = ["eval", "--data", str(tmp_path), "--plant", str(DEMO), "--json", str(out)]
    assert main(arguments) == 0
    document = msgspec.json.decode(out.read_bytes())
    assert document["metrics"]["code_hit1"] == 1.0
    assert document["metrics"]["plant.rules.right"] == 1.0
    assert document["metrics"]["sensoriq.rules.prior"] == 0.5
    assert document["complete"] is True
    for name in ("commit", "date", "machine", "command"):
        assert document[name]
    assert len(document["samples"]["reports.rules"]) == len(cases())
    assert "title_garbled" in capsys.readouterr().out


def test_what_was_measured_before_a_model_failed_is_kept(tmp_path, capsys):
    write_questions(write_data(tmp_path))
    out = tmp_path / "out.json"
    arguments = ["eval", "--data", str(tmp_path), "--plant", str(DEMO), "--json", str(out)]
    assert main([*arguments, "--model", str(tmp_path / "absent")]) == 1
    document = msgspec.json.decode(out.read_bytes())
    assert document["complete"] is False
    assert document["metrics"]["code_hit1"] == 1.0
    assert "absent" in capsys.readouterr().err


def test_the_plants_own_calibration_is_what_is_measured(tmp_path, capsys):
    data = write_data(tmp_path, labelled())
    calibrate_file(data, ToyEmbedder(), tmp_path / "calibration.toml", quiet)
    config, out = tmp_path / "lineside.toml", tmp_path / "out.json"
    arguments = [
        "eval",
        "--config",
        str(config),
        "--suite",
        "reports",
        "--data",
        str(data),
        "--json",
        str(out),
    ]
    config.write_text(f'state_dir = "{tmp_path}"\n')
    assert main(arguments) == 0
    assert msgspec.json.decode(out.read_bytes())["calibration"]["embedder"] == "toy-1"
    config.write_text('[diagnosis]\ncalibration = "/absent/c.toml"\n')
    assert main(arguments) == 1
    assert "/absent/c.toml: No such file" in capsys.readouterr().err


def test_the_command_fails_where_a_suite_has_no_data(tmp_path, capsys):
    assert main(["eval", "--data", str(tmp_path), "--plant", str(DEMO), "--json", str(tmp_path / "o")]) == 1
    assert "reports.jsonl: No such file" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_command_tells_where_it_cannot_write(tmp_path, capsys):
    write_data(tmp_path)
    out = tmp_path / "no" / "out.json"
    assert main(["eval", "--data", str(tmp_path), "--suite", "reports", "--json", str(out)]) == 1
    assert "directory that exists" in capsys.readouterr().err
