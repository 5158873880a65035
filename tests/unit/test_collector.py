"""The collector of cycles rests while a daemon starts, and looks only at what was made since."""

import subprocess
import sys
from pathlib import Path

# What is looked at when the service manager is told that the start is over.
STARTING = """
import gc, os
from lineside.supervision import notify

def told(self, **fields):
    if "READY" in fields:
        made = [[]]
        made.append(made)
        del made
        print(gc.isenabled(), gc.get_freeze_count() > 10_000, gc.collect() > 0, flush=True)
        os._exit(0)

notify.Notifier.send = told
from lineside import app, cli
serve = app.serve

def watched(*arguments):
    print(gc.isenabled())
    return serve(*arguments)

app.serve = watched
cli.main(["serve", "--config", CONFIG])
"""


def test_a_start_pauses_it_and_what_it_made_is_not_looked_through_again(tmp_path: Path):
    config = tmp_path / "lineside.toml"
    config.write_text(
        f'state_dir = "{tmp_path / "state"}"\n'
        '[diagnosis]\nmode = "rules"\n[mqtt]\nbroker = "off"\n[grpc]\nenabled = false\n',
        "utf-8",
    )
    code = f"CONFIG = {str(config)!r}\n{STARTING}"
    asked = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert asked.stdout.split() == ["False", "True", "True", "True"]
