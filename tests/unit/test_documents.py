"""What is published beside the code is what the code says."""

import json
import re
import sys
from pathlib import Path

import pytest

from lineside.config import Config
from lineside.diagnosis.schemas import json_schemas
from lineside.errors import Reason
from lineside.v1 import common_pb2

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["report", "diagnosis", "brief", "feedback", "receipt"])
def test_the_published_schema_is_the_structs(document):
    published = json.loads((ROOT / "docs" / "schema" / f"{document}.schema.json").read_text("utf-8"))
    assert published == json_schemas()[document], f"run: lineside schema {document} > docs/schema/..."


def test_the_reasons_on_the_wire_are_the_reasons():
    names = {name.removeprefix("REASON_").lower() for name in common_pb2.Reason.DESCRIPTOR.values_by_name}
    assert names - {"unspecified"} == {reason.value for reason in Reason}


def test_the_readme_names_every_configuration_key():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme[readme.index("## Configure") : readme.index("### An own broker")]
    named = set(re.findall(r"`(?:\[\w+\] )?(\w+)`", table))
    for section in Config.__struct_fields__:
        keys = getattr(getattr(Config(), section), "__struct_fields__", (section,))
        assert set(keys) <= named, f"[{section}] {set(keys) - named}"


def test_the_readme_explains_every_reason():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme[readme.index("| reason | gRPC |") : readme.index("## Develop")]
    unexplained = {reason.value for reason in Reason} - set(re.findall(r"`(\w+)`", table))
    assert unexplained == set()


def test_every_extra_that_a_hint_or_a_page_names_is_there():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(project)["project"]["optional-dependencies"]
    sources = [*(ROOT / "daemon").rglob("*.py"), *(ROOT / "models").rglob("*.py")]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        extra
        for path in (*sources, *pages)
        for group in re.findall(r"lineside\[([a-z,]+)\]", path.read_text("utf-8"))
        for extra in group.split(",")
    }
    assert {"tensorrt", "rtx"} <= named <= set(extras)
