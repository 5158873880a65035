import pytest
from tests.integration.diagnosis.diagnosis_parts import DEMO

from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store


@pytest.fixture(scope="session")
def plant_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plant") / "knowledge.db"
    import_files(path, sorted((DEMO / "knowledge").glob("*.yaml")), ImportOptions(approve_by="tests"))
    return path


@pytest.fixture
def plant(plant_file):
    return Searcher(Store(plant_file))
