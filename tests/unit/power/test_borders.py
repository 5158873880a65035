"""Only power/ touches the kernel's power interfaces, NVML and jtop: import-linter sees no dynamic import."""

import re
from pathlib import Path

import lineside

PACKAGE = Path(lineside.__file__).parent
TOUCHES = re.compile(
    r"sys/(class|bus|devices)/?(hwmon|thermal|devfreq|powercap|i2c|platform)|\bpynvml\b|import_module\(.jtop"
)


def test_only_power_touches_power_interfaces():
    outside = [path for path in PACKAGE.rglob("*.py") if "power" not in path.relative_to(PACKAGE).parts]
    assert [path.name for path in outside if TOUCHES.search(path.read_text("utf-8"))] == []
    inside = [path for path in (PACKAGE / "power").rglob("*.py") if TOUCHES.search(path.read_text("utf-8"))]
    assert len(inside) > 4, "the pattern finds what it is for"
