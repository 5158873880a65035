import numpy as np
import pytest

from lineside.diagnosis.knowledge.bits import ones


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@pytest.mark.parametrize("old_numpy", [False, True])
def test_bits_are_counted_whatever_numpy_there_is(monkeypatch, kind, old_numpy):
    if old_numpy:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    most = int(np.iinfo(kind).max)
    numbers = [0, 1, 3, 256, most, most - 1]
    assert ones(np.array(numbers, kind)).tolist() == [bin(number).count("1") for number in numbers]
    assert ones(np.zeros(0, kind)).tolist() == []
