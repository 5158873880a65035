"""What a daemon imports before it knows that it needs it: the rest costs memory and time on every board."""

import subprocess
import sys

# For certificates on a network, draws, scrapers, people, manuals.
UNASKED = ("cryptography", "numpy.random", "prometheus_client", "rich", "yaml", "docx", "pypdf", "bs4")

ASKING = """
import sys
import numpy  # an older one imports its generators itself
given = set(sys.modules)
import lineside.cli, lineside.app, lineside.backup.restore, lineside.engine.onnxruntime
from lineside.serving.request import Sampling
from lineside.serving.sampler import Sampler
Sampler(Sampling(temperature=1.0, seed=1))
print(*(set(sys.modules) - given))
"""


def test_a_daemon_imports_nothing_that_only_others_need():
    imported = printed(ASKING)
    assert "lineside.transport.grpc.server" in imported
    assert [name for name in UNASKED if name in imported] == []


def test_a_model_begins_to_load_before_transports_are_imported():
    imported = printed("import sys, lineside.beginning\nprint(*sys.modules)")
    assert "onnxruntime" in imported
    assert not {"grpc", "google", "paho", "lineside.app", "lineside.diagnosis.pipeline"} & imported


def printed(code: str) -> set[str]:
    """The words that a program of its own prints."""
    asked = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(asked.stdout.split())
