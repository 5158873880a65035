import subprocess
import sys

from lineside.diagnosis.knowledge.retrieval import Query
from lineside.diagnosis.knowledge.search import Searcher
from lineside.diagnosis.knowledge.store import Store

IMPORTER = """
import sys
from pathlib import Path
from lineside.diagnosis.knowledge.importers import ImportOptions, import_files
for number in range(int(sys.argv[3])):
    Path(sys.argv[2]).write_text(f"code,title\\n{number % 7},Fault {number}\\n" + "".join(
        f"X{row},Filler {row}\\n" for row in range(200)))
    import_files(Path(sys.argv[1]), [Path(sys.argv[2])], ImportOptions(approve_by="tests"))
"""


def importer(store, source, times):
    return subprocess.Popen([sys.executable, "-c", IMPORTER, str(store), str(source), str(times)])


def test_another_process_imports_while_queries_run(tmp_path):
    path = tmp_path / "knowledge.db"
    store = Store(path)
    searcher = Searcher(store)
    process = importer(path, tmp_path / "a.csv", 25)
    versions, whole = set(), True
    while process.poll() is None:
        found = searcher.search(Query(code="X7", text="Filler 7"))
        versions.add(found.version)
        whole &= found.version == "0" or found.verdict == "hit"
    assert process.returncode == 0
    assert whole
    assert len(versions) > 3
    assert store.version.startswith("25-")


def test_two_importers_lose_nothing(tmp_path):
    path = tmp_path / "knowledge.db"
    processes = [importer(path, tmp_path / f"{name}.csv", 8) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    store = Store(path)
    assert store.version.startswith("16-")
    assert store.entries == 2 * 201
