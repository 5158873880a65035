import numpy as np
import pytest

from lineside.serving.request import Sampling
from lineside.serving.sampler import Sampler

LOGITS = np.log(np.array([0.1, 0.5, 0.15, 0.25], np.float32))


def draws(sampling, count=4000, allowed=None):
    sampler = Sampler(sampling)
    picks = [sampler.pick(LOGITS, allowed)[0] for _ in range(count)]
    return np.bincount(picks, minlength=4) / count


def test_greedy_picks_the_likeliest_and_tells_its_probability():
    token, probability = Sampler(Sampling()).pick(LOGITS)
    assert token == 1
    assert probability == pytest.approx(0.5, rel=1e-5)


def test_greedy_picks_among_the_allowed_only_and_scales_their_probability():
    token, probability = Sampler(Sampling()).pick(LOGITS, np.array([0, 3]))
    assert token == 3
    assert probability == pytest.approx(0.25 / 0.35, rel=1e-5)


def test_temperature_one_follows_the_distribution():
    assert draws(Sampling(temperature=1.0, seed=1)) == pytest.approx([0.1, 0.5, 0.15, 0.25], abs=0.03)


def test_a_low_temperature_sharpens():
    assert draws(Sampling(temperature=0.2, seed=1))[1] > 0.95


def test_top_k_keeps_the_k_likeliest():
    assert draws(Sampling(temperature=1.0, top_k=2, seed=1)) == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=0.03)


def test_top_p_keeps_the_fewest_that_reach_it():
    assert draws(Sampling(temperature=1.0, top_p=0.6, seed=1)) == pytest.approx(
        [0, 2 / 3, 0, 1 / 3], abs=0.03
    )


def test_sampling_respects_the_allowed():
    shares = draws(Sampling(temperature=1.0, seed=1), allowed=np.array([0, 2]))
    assert shares == pytest.approx([0.4, 0, 0.6, 0], abs=0.03)


@pytest.mark.parametrize("temperature", [1e-320, 1e-45, 1e-9])
def test_the_smallest_temperatures_are_greedy(temperature):
    assert Sampler(Sampling(temperature=temperature, seed=1)).pick(LOGITS) == (1, 1.0)


def test_the_same_seed_gives_the_same_picks_and_another_does_not():
    def picks(seed):
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.pick(LOGITS)[0] for _ in range(50)]

    assert picks(7) == picks(7)
    assert picks(7) != picks(8)
