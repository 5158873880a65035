"""The document of figures."""

from lineside.evaluation.output import document_of, origin_of
from lineside.evaluation.suites import Result

FRACTION = "unsupported_statements_model_fraction"


def document(*results):
    return document_of(results, origin_of("lineside eval"), {"seed": 1, "complete": True})


def test_the_goals_figures_carry_plain_names_and_the_others_say_whose_they_are():
    found = document(
        Result("reports", "rules", {"code_hit1": 1.0}), Result("plant", "rules", {"code_hit1": 0.5})
    )
    assert found["metrics"] == {"code_hit1": 1.0, "plant.rules.code_hit1": 0.5}
    assert (found["command"], found["seed"], found["complete"]) == ("lineside eval", 1, True)


def test_of_the_models_unsupported_statements_the_worst_share_is_the_goals():
    found = document(Result("reports", "a", {FRACTION: 0.0}), Result("plant", "b", {FRACTION: 0.01}))
    assert found["metrics"][FRACTION] == 0.01
    assert found["metrics"][f"reports.a.{FRACTION}"] == 0.0


def test_a_confidence_that_was_measured_is_in_it():
    found = document(Result("reports", "rules", reliability=[{"ece": 0.1}]), Result("plant", "rules"))
    assert found["reliability"] == {"reports.rules": [{"ece": 0.1}]}
