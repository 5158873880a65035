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


def test_a_chooser_is_judged_by_its_choices(questions):
    class First:
        async def choose(self, question):
            return 0

    async def run():
        return [right async for _, right in sensoriq.asked(questions, First(), lambda: None)]

    assert anyio.run(run) == [False, True, True, False]


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"id":1,"question":"?","options":["a"],"correct":[true,false],"asset_name":"fan"}', "{"],
)
def test_questions_of_no_use(tmp_path, content):
    (tmp_path / sensoriq.QUESTIONS).write_text(content)
    with pytest.raises(EvaluationError):
        sensoriq.read_questions(tmp_path / sensoriq.QUESTIONS)
