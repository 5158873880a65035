"""Installed from a wheelhouse, without network, into a Debian booted by systemd: the whole service life."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.support import boards
from tests.support.bundles import SMOLLM2, recipe_bundle
from tests.support.daemon import DEMO
from tests.support.machine import Machine, base_root, wheelhouse

REPORT = {"dev": {"id": "L1/CD-07"}, "alarm": {"code": "F012"}}
ALL = ("lineside.service", "lineside-broker.service", "lineside-power.socket")
HANG = """\
import os, time
from lineside.engine import onnxruntime
forward = onnxruntime.OnnxRuntimeEngine.forward
def hanging(self, batch):
    while os.path.exists("/run/hang"):
        time.sleep(0.1)
    return forward(self, batch)
onnxruntime.OnnxRuntimeEngine.forward = hanging
"""
# A device that waits for its answer, and reports while there is only the broker.
WHILE_AWAY = """\
timeout 40 mosquitto_sub -h 127.0.0.1 -C 1 -t lineside/v1/diagnosis/L1/CD-07 >/tmp/answer &
sleep 1
mosquitto_pub -h 127.0.0.1 -q 1 -t lineside/v1/fault/L1/CD-07 -s
systemctl start lineside.service
wait
"""
SECURED_BROKER = """
mosquitto_passwd -c -b /tmp/passwords lineside 'correct horse'
chmod 644 /tmp/passwords
printf 'listener 1884 127.0.0.1\\nallow_anonymous false\\npassword_file /tmp/passwords\\n' >/tmp/secured.conf
systemd-run --unit secured mosquitto -c /tmp/secured.conf
"""
SECURED_MQTT = """[mqtt]
port = 1884
user = "lineside"
password_file = "/run/credentials/lineside.service/mqtt-password"
"""
LAN_MQTT = """[mqtt]
interface = "192.168.10.5"
power = true
user = "lineside"
password_file = "/run/credentials/lineside.service/mqtt-password"
"""
ASK_HELPER = """\
import sys
from lineside.power.helper_client import ask
for hz in map(int, sys.argv[1:]):
    try:
        print(ask("/run/lineside/power.sock", {"set": "gpu_max_freq", "value": hz}))
    except OSError as error:
        print(error)
"""
AS_DAEMON = ("setpriv", "--reuid=lineside", "--regid=lineside", "--init-groups")
DROPIN = """\
[Service]
WatchdogSec=4
Environment=PYTHONPATH=/opt/hook
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A booted root in which Lineside has just been installed."""
    folder = tmp_path_factory.mktemp("machine", numbered=True)
    root = folder / "root"
    shutil.copytree(base_root(), root, symlinks=True, ignore=shutil.ignore_patterns("dev"))
    (root / "dev").mkdir()
    shared = folder / "shared"
    shared.mkdir()
    machine = Machine(root, shared)
    machine.start()
    try:
        wheelhouse(shared / "house", recipe_bundle(SMOLLM2))
        shutil.copytree(DEMO, shared / "demo")
        machine.do("/mnt/house/install")
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def house(machine):
    """The folder that was installed from."""
    return machine.shared / "house"


def ask(machine, name="answer"):
    report = json.dumps(REPORT | {"request_id": name})
    return json.loads(machine.do("lineside", "diagnose", "--json", "-", stdin=report))


def wait(condition, seconds=60):
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it does not come"
        time.sleep(0.3)


def test_it_runs_and_diagnoses(machine):
    assert [machine.show(unit, "ActiveState") for unit in ALL] == ["active"] * 3
    assert machine.show("lineside.service", "StatusText") == "serving"
    manuals = [f"/mnt/demo/knowledge/{path.name}" for path in sorted((DEMO / "knowledge").glob("*.yaml"))]
    machine.do(*AS_DAEMON, "lineside", "kb", "import", "--approve-by", "tests", *manuals)
    assert ask(machine)["status"] == "ok"
    status = json.loads(machine.do("lineside", "status"))
    assert (status["state"], status["broker_connected"]) == ("ready", True)
    assert machine.state() == "running"


def test_the_doctors_result_is_retained(machine):
    machine.do("systemctl", "start", "lineside-doctor.service")
    command = ("mosquitto_sub", "-h", "127.0.0.1", "-C", "1", "-W", "5", "-t", "lineside/v1/health/lineside")
    health = json.loads(machine.do(*command))
    assert (health["client_id"], health["daemon"], health["broker"]) == ("lineside", "ready", "ok")
    assert health["knowledge_entries"] > 0
    assert [line for line in health["wrong"] if "users." in line or "permissions." in line] == []
    assert machine.show("lineside-wear.service", "Result") == "success"
    as_daemon = ["setpriv", "--reuid=lineside", "--regid=lineside", "--clear-groups"]
    assert json.loads(machine.do(*as_daemon, "cat", "/run/lineside/wear.json"))["v"] == 1
    assert machine.show("lineside-doctor.timer", "ActiveState") == "active"


def test_a_second_install_changes_nothing_and_restarts_no_broker(machine):
    broker = machine.show("lineside-broker.service", "MainPID")
    before = machine.do("readlink", "/opt/lineside")
    machine.do("/mnt/house/install")
    assert machine.do("readlink", "/opt/lineside") == before
    assert machine.show("lineside-broker.service", "MainPID") == broker
    assert ask(machine)["status"] == "ok", "what was imported is still there"


def test_an_upgrade_takes_the_old_place_and_keeps_the_data(machine, house):
    """To a folder as for a JetPack, whose TensorRT is a package of the system's."""
    system = machine.root / "usr/lib/python3/dist-packages"
    (system / "tensorrt").mkdir()
    (system / "tensorrt/__init__.py").write_text("")
    (system / "tensorrt-10.3.0.dist-info").mkdir()
    (system / "tensorrt-10.3.0.dist-info/METADATA").write_text("Name: tensorrt\nVersion: 10.3.0\n")
    assert machine.run("/opt/lineside/bin/python", "-c", "import tensorrt").returncode == 1
    facts = house / "wheelhouse"
    facts.write_text(facts.read_text().replace("jetpack=", "jetpack=6"))
    before = machine.do("readlink", "/opt/lineside").strip()
    config = machine.do("cat", "/etc/lineside/lineside.toml")
    (house / "docs/news.md").write_text("another release")
    sums = "find . -type f ! -name SHA256SUMS -exec sha256sum {} + >/tmp/sums$$; mv /tmp/sums$$ SHA256SUMS"
    subprocess.run(["sh", "-c", sums], cwd=house, check=True)
    machine.do("/mnt/house/install")
    after = machine.do("readlink", "/opt/lineside").strip()
    assert after != before
    assert machine.run("test", "-e", before).returncode == 1
    assert machine.do("cat", "/etc/lineside/lineside.toml") == config
    assert ask(machine, "upgraded")["status"] == "ok"
    seen = "import tensorrt, importlib.metadata as m; print(tensorrt.__file__, m.version('tensorrt'))"
    found = machine.do("/opt/lineside/bin/python", "-c", seen).split()
    assert found == ["/usr/lib/python3/dist-packages/tensorrt/__init__.py", "10.3.0"]


def test_a_damaged_folder_is_refused(machine, house):
    page = house / "docs/news.md"
    page.write_text("damaged")
    refused = machine.run("/mnt/house/install")
    page.write_text("another release")
    assert refused.returncode == 1
    assert "the folder is damaged" in refused.stderr


def test_a_reload_is_taken(machine):
    daemon = machine.show("lineside.service", "MainPID")
    machine.do("systemctl", "reload", "lineside.service")
    assert machine.show("lineside.service", "MainPID") == daemon
    wait(lambda: "reloaded" in machine.do("journalctl", "-u", "lineside.service", "--no-pager"))


def over_the_lan(machine, name, program, *arguments):
    """One of mosquitto's clients, with that client's certificate."""
    certs = "/tmp/kept"
    shown = ["--cafile", f"{certs}/ca.pem", "--cert", f"{certs}/clients/{name}.pem"]
    shown += ["--key", f"{certs}/clients/{name}.key", "-h", "192.168.10.5", "-p", "8883", "-V", "5"]
    return machine.run(f"mosquitto_{program}", *shown, *arguments)


def answer_over_the_lan(machine, name, *arguments):
    """What comes back to a client that publishes and waits."""
    done = over_the_lan(machine, name, "rr", "-q", "1", "-W", "60", *arguments)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@contextmanager
def opened_to_the_lan(machine):
    """As docs/security.md and docs/power.md have it; an address on loopback stands for the network's."""
    machine.in_its_network("ip", "addr", "add", "192.168.10.5/24", "dev", "lo")
    config = machine.root / "etc/lineside/lineside.toml"
    secret = machine.root / "etc/lineside/credentials/mqtt-password"
    dropin = "/etc/systemd/system/lineside-broker.service.d/lan.conf"
    before = config.read_text()
    try:
        for arguments in ("init", "server 192.168.10.5", "client L1/CD-07", "client lost", "client anna"):
            machine.do(*AS_DAEMON, "lineside", "certs", *arguments.split())
        machine.do("cp", "-r", "/var/lib/lineside/certs", "/tmp/kept")
        config.write_text(before.replace("[mqtt]\n", LAN_MQTT) + '\n[security]\noperators = ["anna"]\n')
        secret.write_text("correct horse\n")
        secret.chmod(0o600)
        machine.do("install", "-D", "-m", "644", "/mnt/house/systemd/lan.conf", dropin)
        machine.do("systemctl", "daemon-reload")
        machine.do("systemctl", "restart", "lineside-broker", "lineside")
        yield
    finally:
        # Whatever came of it: the tests after this one are told by their own.
        config.write_text(before)
        secret.unlink(missing_ok=True)
        machine.do("rm", "-f", dropin)
        machine.do("systemctl", "daemon-reload")
        machine.do("systemctl", "restart", "lineside-broker", "lineside")


def test_the_broker_opens_to_the_network_with_the_drop_in(machine):
    with opened_to_the_lan(machine):
        # Before the daemon's first login its queue is that of a user who may read nothing any more.
        wait(lambda: json.loads(machine.do("lineside", "status"))["broker_connected"])
        topics = ("-t", "lineside/v1/fault/L1/CD-07", "-e", "lineside/v1/diagnosis/L1/CD-07")
        asked = ("L1%2FCD-07", *topics, "-m", '{"alarm": {"code": "F012"}}')
        assert answer_over_the_lan(machine, *asked)["dev"]["id"] == "L1/CD-07"
        to_set = ("-t", "lineside/v1/power/set/lineside")
        power = (*to_set, "-e", "lineside/v1/receipt/power/lineside", "-m")
        for setting in ('{"limit_w": 30}', '{"clear": true}'):
            assert answer_over_the_lan(machine, "anna", *power, setting)["status"] == "ok"
        local = ("mosquitto_pub", "-h", "127.0.0.1", "-V", "5", "-q", "1", *to_set, "-m", "{}")
        assert "ot authori" in machine.run(*local).stderr
        assert "ot authori" in over_the_lan(machine, "lost", "pub", "-q", "1", *topics[:2], "-m", "x").stderr

        machine.do(*AS_DAEMON, "lineside", "certs", "revoke", "lost")
        # From here on the broker keeps what comes at QoS 1 for the daemon, which is back some time after it.
        machine.do("systemctl", "restart", "lineside-broker")
        unwanted = ("-q", "1", "-t", "lineside/v1/fault/lost", "-m", "x")
        assert over_the_lan(machine, "lost", "pub", *unwanted).returncode
        assert answer_over_the_lan(machine, *asked)["status"] == "ok"


def test_reports_of_devices_outlive_a_stopped_daemon(machine):
    machine.do("systemctl", "stop", "lineside.service")
    assert machine.show("lineside.service", "Result") == "success"
    assert "stopped" in machine.do("journalctl", "-u", "lineside.service", "--no-pager")
    assert machine.show("lineside-broker.service", "ActiveState") == "active"
    machine.do("sh", "-c", WHILE_AWAY, stdin=json.dumps(REPORT))
    assert json.loads(machine.do("cat", "/tmp/answer"))["status"] == "ok"


def test_a_step_that_hangs_is_caught_and_the_daemon_started_again(machine):
    hook, dropin = machine.root / "opt/hook", machine.root / "etc/systemd/system/lineside.service.d"
    hook.mkdir()
    dropin.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HANG)
    (dropin / "test.conf").write_text(DROPIN)
    config = machine.root / "etc/lineside/lineside.toml"
    # What is read ahead would hang, too, before what a test asks for runs.
    config.write_text(config.read_text() + '\n[engine]\nkept_entries = 0\n\n[diagnosis]\nmode = "model"\n')
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", "lineside.service")
    stuck = machine.show("lineside.service", "MainPID")
    machine.do("touch", "/run/hang")
    machine.run("timeout", "3", "lineside", "diagnose", "-", stdin=json.dumps(REPORT))
    wait(lambda: machine.show("lineside.service", "NRestarts") != "0")
    machine.do("rm", "/run/hang")
    wait(lambda: machine.show("lineside.service", "ActiveState") == "active")
    assert machine.show("lineside.service", "MainPID") != stuck
    log = machine.do("journalctl", "-u", "lineside.service", "--no-pager")
    assert "Watchdog timeout" in log
    assert "of=engine" in log
    assert "in hanging" in log, "where the thread was"
    assert ask(machine, "after the hang")["status"] == "ok"


def test_a_password_comes_as_a_credential(machine):
    secret = machine.root / "etc/lineside/credentials/mqtt-password"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    machine.do("sh", "-c", SECURED_BROKER)
    config = machine.root / "etc/lineside/lineside.toml"
    config.write_text(config.read_text().replace("[mqtt]\n", SECURED_MQTT))
    dropin = machine.root / "etc/systemd/system/lineside.service.d/test.conf"
    dropin.write_text(DROPIN.replace("WatchdogSec=4", "WatchdogSec=60"))
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", "lineside.service")
    wait(lambda: json.loads(machine.do("lineside", "status"))["broker_connected"])
    assert "1884" in json.loads(machine.do("lineside", "status"))["broker_address"]
    anonymous = machine.run("mosquitto_pub", "-h", "127.0.0.1", "-p", "1884", "-t", "x", "-m", "x")
    assert "not authorised" in anonymous.stderr, "it asks for the password"


def test_a_stop_lets_what_runs_end(machine):
    machine.do("touch", "/run/hang")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, machine, "in flight")
        wait(lambda: json.loads(machine.do("lineside", "status"))["engine"]["running"] == 1)
        machine.do("systemctl", "stop", "--no-block", "lineside.service")
        wait(lambda: machine.show("lineside.service", "StatusText") == "draining")
        assert not asked.done()
        machine.do("rm", "/run/hang")
        assert asked.result(60)["status"] == "ok"
    wait(lambda: machine.show("lineside.service", "ActiveState") == "inactive")
    assert machine.show("lineside.service", "Result") == "success"


def cap_hz(machine):
    return int((machine.root / "opt/board/sys/class/devfreq/17000000.gpu/max_freq").read_text())


def ask_helper(machine, user, *clocks_hz):
    """What the helper says to a user who asks for clocks."""
    command = ["/opt/lineside/bin/python", "-c", ASK_HELPER, *map(str, clocks_hz)]
    return machine.run("setpriv", f"--reuid={user}", "--clear-groups", *command).stdout


def test_the_clock_is_set_by_the_helper_for_the_daemon_alone(machine):
    boards.orin_nano(machine.root / "opt/board")
    config = machine.root / "etc/lineside/lineside.toml"
    config.write_text(config.read_text() + '\n[power]\nroot = "/opt/board"\nlimit_w = 5.0\n')
    dropin = machine.root / "etc/systemd/system/lineside-power.service.d"
    dropin.mkdir()
    (dropin / "test.conf").write_text("[Service]\nReadWritePaths=/opt/board/sys\n")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "stop", "lineside-power.service")
    machine.do("systemctl", "start", "lineside.service")
    wait(lambda: cap_hz(machine) == boards.NANO_HZ[0])
    assert machine.show("lineside-power.service", "ActiveState") == "active", "its socket has started it"
    taken, refused = ask_helper(machine, "lineside", boards.NANO_HZ[1], 408_000_001).splitlines()
    assert taken == "gpu_max_freq is 408000000"
    assert "408000001 Hz is not in 17000000.gpu's table" in refused
    assert "Permission denied" in ask_helper(machine, "nobody", boards.NANO_HZ[0])
    machine.do("chmod", "666", "/run/lineside/power.sock")
    assert "may not ask" in ask_helper(machine, "nobody", boards.NANO_HZ[0])
    assert cap_hz(machine) == boards.NANO_HZ[1]
    machine.do("systemctl", "stop", "lineside.service")
    assert cap_hz(machine) == boards.NANO_HZ[-1]


def test_without_the_helper_pacing_alone_holds_the_limit(machine):
    machine.do("systemctl", "stop", "lineside-power.socket", "lineside-power.service")
    machine.do("systemctl", "start", "--job-mode=ignore-dependencies", "lineside.service")

    def power():
        return json.loads(machine.do("lineside", "status"))["power"]

    wait(lambda: "pacing alone holds the limit" in power()["detail"])
    assert power()["duty"] < 1
    assert cap_hz(machine) == boards.NANO_HZ[-1]
    assert machine.show("lineside-power.service", "ActiveState") == "inactive"


def test_an_older_release_is_refused_and_an_uninstall_keeps_the_data(machine):
    version = machine.root / "var/lib/lineside/installed-version"
    version.write_text("99.0\n")
    refused = machine.run("/mnt/house/install")
    assert refused.returncode == 1
    assert "99.0 was installed here" in refused.stderr
    machine.do("/mnt/house/install", "--uninstall")
    assert (machine.root / "var/lib/lineside/knowledge.db").exists()
    assert not (machine.root / "opt/lineside").exists()
    assert machine.run("systemctl", "cat", "lineside.service").returncode != 0
    machine.do("/mnt/house/install", "--uninstall")
