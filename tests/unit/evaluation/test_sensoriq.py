import anyio
import pytest
from tests.unit.evaluation.evaluation_data import write_questions

from lineside.evaluation import sensoriq
from lineside.evaluation.cases import EvaluationError


@pytest.fixture
def questions(tmp_path):
    return sensoriq.read_questions(write_questions(tmp_path) / sensoriq.QUESTIONS)


def test_chance(questions):
    assert sensoriq.chance(questions) == 0.5


def test_the_prior_is_learned_from_the_other_assets_alone(questions):
    # The fan's questions make `trap` look right, the pump's `other`: each misleads about the other asset.
    assert sensoriq.prior_by_asset(questions) == {"fan": 0.5, "pump": 0.5}
    assert sensoriq.prior(questions) == 0.5
    assert sensoriq.prior_seen(questions) == 0.75, "what is to be answered was seen"


def test_the_prior_on_a_sample_is_taught_by_all_others(questions):
    assert sensoriq.prior_on(questions, questions[:1]) == 1.0
    assert sensoriq.prior_on(questions, questions[1:2]) == 0.0


def test_a_sample_is_the_same_again(questions):
    assert sensoriq.sample_questions(questions, 2, 1) == sensoriq.sample_questions(questions, 2, 1)
    assert len(sensoriq.sample_questions(questions, 2, 1)) == 2
    assert sensoriq.sample_questions(questions, 0, 1) == questions


class FirstAndLiked:
    """Holds the first option for likeliest; likes `trap`, whatever it is asked."""

    async def likelihoods(self, question):
        return [-1.0 - place for place in range(len(question.options))]

    async def priors(self, question):
        return [0.0 if option == "trap" else -3.0 for option in question.options]


def test_a_model_is_judged_with_and_without_its_own_prior(questions):
    async def run():
        return [one async for one in sensoriq.answered(questions, FirstAndLiked(), lambda: None)]

    found = anyio.run(run)
    assert [one.likeliest_right for one in found] == [False, True, True, False]
    assert [one.beyond_prior_right for one in found] == [False, False, True, True]


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"id":1,"question":"?","options":["a"],"correct":[true,false],"asset_name":"fan"}', "{"],
)
def test_questions_of_no_use(tmp_path, content):
    (tmp_path / sensoriq.QUESTIONS).write_text(content)
    with pytest.raises(EvaluationError):
        sensoriq.read_questions(tmp_path / sensoriq.QUESTIONS)
