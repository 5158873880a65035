import numpy as np
import pytest

from lineside.serving.request import Sampling
from lineside.serving.sampler import Sampler

LOGITS = np.log(np.array([0.1, 0.5, 0.15, 0.25], np.float32))


def among(*ids):
    return np.isin(np.arange(4), ids)


def draws(sampling, count=4000, allowed=None):
    sampler = Sampler(sampling)
    picks = [sampler.pick(LOGITS, allowed)[0] for _ in range(count)]
    return np.bincount(picks, minlength=4) / count


def test_greedy_picks_the_likeliest_and_tells_its_probability():
    token, probability = Sampler(Sampling()).pick(LOGITS)
    assert token == 1
    assert probability == pytest.approx(0.5, rel=1e-5)


def test_greedy_picks_among_the_allowed_only_and_scales_their_probability():
    token, probability = Sampler(Sampling()).pick(LOGITS, among(0, 3))
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
    shares = draws(Sampling(temperature=1.0, seed=1), allowed=among(0, 2))
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


@pytest.mark.parametrize("few", [1, 16, 1 << 30])
@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"temperature": 0.7, "top_k": 3, "top_p": 0.9}])
def test_looking_at_all_or_gathering_a_few_comes_to_the_same(monkeypatch, few, fields):
    """1: always gathered; the largest: never."""
    monkeypatch.setattr("lineside.serving.sampler.FEW", few)
    logits = np.random.default_rng(3).normal(size=500).astype(np.float32)
    allowed = np.random.default_rng(4).random(500) < 0.3
    ids = np.flatnonzero(allowed)
    expected = Sampler(Sampling(seed=5, **fields)).pick(logits[ids])
    token, probability = Sampler(Sampling(seed=5, **fields)).pick(logits, allowed)
    assert (token, probability) == (ids[expected[0]], pytest.approx(expected[1], rel=1e-5))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (0, 0.9), (0, 0.9999), (1, 1.0), (40, 0.8), (900, 1.0)]
)
def test_what_the_filters_leave_is_what_sorting_all_of_them_leaves(temperature, top_k, top_p):
    """Ties are broken by the smaller id, as a stable sort breaks them."""
    logits = np.random.default_rng(1).normal(scale=3, size=800).round(1).astype(np.float32)
    order = np.argsort(-logits, kind="stable")[: top_k or None]
    weights = np.exp((logits[order].astype(np.float64) - logits.max()) / temperature)
    weights /= weights.sum()
    if top_p < 1.0:
        order = order[: int(np.searchsorted(np.cumsum(weights), top_p)) + 1]
        weights = weights[: len(order)] / weights[: len(order)].sum()
    expected = dict(zip(order.tolist(), weights, strict=True))
    sampler = Sampler(Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=2))
    for _ in range(300):
        token, probability = sampler.pick(logits)
        assert probability == pytest.approx(expected[token], rel=1e-5)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=4)])
def test_a_token_without_its_probability_is_the_same_one(sampling) -> None:
    logits = np.random.default_rng(7).standard_normal((20, 50)).astype(np.float32)
    alone, with_it = Sampler(sampling), Sampler(sampling)
    assert [alone.token(row) for row in logits] == [with_it.pick(row)[0] for row in logits]
