"""What Linux tells of a processor."""

import pytest

from lineside.engine.processor import has_vnni

ORIN = "processor\t: 0\nFeatures\t: fp asimd aes crc32 atomics fphp asimdhp asimddp\nCPU part\t: 0xd42\n"
ZEN2 = "processor\t: 0\nmodel name\t: AMD EPYC avx_vnni\nflags\t\t: fpu sse4_2 avx2 fma\n\n"


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (ORIN, False),
        (ZEN2, False),
        (ZEN2.replace("fma", "fma avx512_vnni"), True),
        (ZEN2.replace("fma", "fma avx_vnni"), True),
        ("", False),
    ],
)
def test_vnni_is_among_the_flags(tmp_path, told, found) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    assert has_vnni(tmp_path / "cpuinfo") == found


def test_without_cpuinfo_there_is_none(tmp_path) -> None:
    assert not has_vnni(tmp_path / "cpuinfo")
