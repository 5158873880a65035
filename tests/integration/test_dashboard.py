"""The dashboard's queries, by a real Prometheus over a real daemon's metrics."""

import json
import math
from pathlib import Path

import grpc
import pytest
from tests.support import boards
from tests.support.daemon import DEMO, Daemon
from tests.support.ports import free_port
from tests.support.prometheus import Prometheus

from lineside.v1 import generation_pb2, generation_pb2_grpc

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
REPORT = json.loads((DEMO / "faults" / "overtemperature.en.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, smollm2_bundle):
    """Has scraped a daemon on a board with sensors: after a diagnosis, a refusal and a request given up."""
    root, directory = tmp_path_factory.mktemp("board"), tmp_path_factory.mktemp("dashboard")
    boards.orin_nano(root)
    metrics = f"127.0.0.1:{free_port()}"
    power = {"root": str(root), "limit_w": 100.0}
    daemon = Daemon(directory / "daemon", smollm2_bundle, telemetry={"metrics": metrics}, power=power)
    daemon.import_demo()
    daemon.start()
    try:
        refuse_one_and_give_one_up(daemon)
        scraping = Prometheus(directory, metrics)
        try:
            scraping.wait_for("lineside_build_info")
            daemon.ask(REPORT)
            scraping.wait_for('increase(lineside_diagnoses_total{outcome="ok"}[1m]) > 0')
            yield scraping
        finally:
            scraping.end()
    finally:
        daemon.end()


def refuse_one_and_give_one_up(daemon):
    with grpc.insecure_channel(daemon.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            next(stub.Generate(generation_pb2.GenerateRequest(prompt="long " * 20_000), timeout=60))
        request = generation_pb2.GenerateRequest(prompt="Once upon a time", sampling={"max_tokens": 400})
        stream = stub.Generate(request, timeout=60)
        next(stream)
        stream.cancel()


def as_asked(expression):
    """With what Grafana puts in."""
    made = expression.replace("$instance", ".*").replace("$__rate_interval", "1m").replace("$__range", "1m")
    assert "$" not in made
    return made


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=lambda value: value[:40])
def test_a_panel_shows_what_the_daemon_measures(prometheus, title, expression):
    series = prometheus.query(as_asked(expression))
    assert series, f"{title} shows nothing"
    assert any(math.isfinite(float(one["value"][1])) for one in series), f"{title}: {series}"


def test_panels_name_each_series_they_show(prometheus):
    for panel in PANELS:
        for target in panel["targets"]:
            named = [part.split("}}")[0] for part in target["legendFormat"].split("{{")[1:]]
            for series in prometheus.query(as_asked(target["expr"])):
                assert set(named) <= set(series["metric"]), panel["title"]


def test_every_machine_is_offered(prometheus):
    (variable,) = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "instance"]
    assert variable["query"] == "label_values(lineside_build_info, instance)"
    assert "instance" in prometheus.query("lineside_build_info")[0]["metric"]
