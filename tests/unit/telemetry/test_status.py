import threading

from lineside import __version__
from lineside.telemetry.status import Sources, Status


def test_before_the_parts_exist_there_is_a_status():
    status = Status().status()
    assert (status.version, status.state, status.engine, status.journal_pending) == (
        __version__,
        "starting",
        None,
        0,
    )
    assert Status().models() == ()


def test_a_snapshot_reads_every_source():
    status = Status()
    status.sources = Sources(
        engine=lambda: None,
        models=lambda: (),
        knowledge=lambda: ("3-abc", 7),
        broker=lambda: ("127.0.0.1:1883", True, True),
        journal=lambda: (2, 1),
        trouble=lambda: "",
        engine_choice=lambda: "onnxruntime: as configured",
        embedded=lambda: (5, 12),
    )
    facts = status.status()
    assert (facts.knowledge_texts_embedded, facts.knowledge_texts) == (5, 12)
    assert facts.state == "starting"
    assert (facts.knowledge_version, facts.knowledge_entries) == ("3-abc", 7)
    assert (facts.broker_address, facts.broker_connected, facts.broker_managed) == (
        "127.0.0.1:1883",
        True,
        True,
    )
    assert facts.engine_choice == "onnxruntime: as configured"
    assert (facts.journal_pending, facts.journal_unpublished) == (2, 1)


def test_counting_from_many_threads_loses_nothing():
    status = Status()

    def count():
        for _ in range(5000):
            status.count("x")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status.status().counters["x"] == 20_000
