"""Against the real ones: Prometheus scrapes riverd, Alertmanager takes its alerts, promtool finds nothing to blame."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.riverd.http_receiver import HttpReceiver
from tests.system.programs import find_program as program
from tests.system.programs import free_port
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
DEADLINE_S = 30.0
TOKEN = "t0ken"
HTTP = urllib3.PoolManager(retries=False, timeout=5.0)


def eventually(condition):
    """What it gives, once that is true; a connection that is refused is not true yet."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        try:
            if found := condition():
                return found
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came true")


def get(url):
    answer = HTTP.request("GET", url)
    return answer.data if answer.status == 200 else None


@contextmanager
def started(folder, name, *arguments, **environment):
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def hooks():
    """What Alertmanager tells, and what riverd tells by itself."""
    made = HttpReceiver(), HttpReceiver()
    yield made
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory, hooks):
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    config = {
        "route": {
            "receiver": "hook", "group_by": ["alertname", "model"],
            "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h",
        },
        "receivers": [{"name": "hook", "webhook_configs": [{"url": hooks[0].url, "send_resolved": True}]}],
    }  # fmt: skip
    (folder / "alertmanager.yml").write_text(json.dumps(config))  # JSON is YAML
    options = (
        f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip
    with started(folder, "alertmanager", program("prometheus-alertmanager"), *options):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: get(f"{url}/-/ready") is not None)
        yield url


@pytest.fixture(scope="module")
def riverd(tmp_path_factory, alertmanager, hooks):
    """The URL of one that runs: one of its rules fires, for good."""
    folder = tmp_path_factory.mktemp("riverd")
    write_data(folder / "data", count=600)
    configure(
        folder,
        folder / "data",
        alerts=[
            {"name": "always", "metric": "positive_rate", "window": "2h", "above": 0.0, "min_labelled": 1}
            | {"severity": "critical", "action": ["log", "webhook", "alertmanager"]}
        ],
        delivery={"alertmanager": alertmanager, "webhook": hooks[1].url},
        web={"listen": "127.0.0.1:0"},
    )
    command = [sys.executable, "-m", "riverd", "run", "-c", str(folder / "riverd.toml")]
    with started(folder, "riverd", *command, RIVERD_TOKEN=TOKEN) as log:
        url = eventually(lambda: re.search(r"web: (http://\S+)", log.read_text()))[1]
        eventually(lambda: get(f"{url}/readyz"))
        yield url


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, riverd):
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    shutil.copy(RULES / "rules.yml", folder)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "riverd", "static_configs": [{"targets": [riverd.removeprefix("http://")]}]}
        ],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config))
    options = (
        f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    with started(folder, "prometheus", program("prometheus"), *options):
        url = f"http://127.0.0.1:{port}"

        def query(expression):
            answer = HTTP.request("GET", f"{url}/api/v1/query", fields={"query": expression})
            # while it starts it answers 503, in plain text
            return json.loads(answer.data)["data"]["result"] if answer.status == 200 else []

        eventually(lambda: query('riverd_up{job="riverd"} == 1'))
        yield query


def promtool(*arguments, said=None):
    ended = subprocess.run([program("promtool"), *arguments], input=said, capture_output=True, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def test_promtool_finds_nothing_to_blame_in_the_metrics(riverd):
    metrics = eventually(lambda: get(f"{riverd}/metrics"))
    assert promtool("check", "metrics", said=metrics) == (0, "")
    worse = metrics.replace(b"riverd_events_total", b"riverd_events")
    assert promtool("check", "metrics", said=worse)[0] != 0  # it would have found it


def test_the_rules_pass_their_own_tests():
    assert promtool("check", "rules", str(RULES / "rules.yml"))[0] == 0
    code, said = promtool("test", "rules", str(RULES / "rules_test.yml"))
    assert code == 0, said


def test_every_metric_of_the_rules_is_there(riverd, prometheus):
    rules = (RULES / "rules.yml").read_text()
    for name in sorted(set(re.findall(r"\b(?<!:)riverd_\w+(?=[{ \[])", rules))):
        assert eventually(lambda name=name: prometheus(name)), name


def test_prometheus_sees_the_rule_fire(prometheus):
    alert = eventually(lambda: prometheus('ALERTS{alertname="RiverdRule", alertstate="firing"}'))[0]["metric"]
    assert (alert["rule"], alert["severity"], alert["model"]) == ("always", "critical", "shops")
    assert prometheus('model_window:riverd_logloss_nats:mean{window="2h"}')


def test_alertmanager_takes_it_and_says_what_riverd_says(riverd, hooks):
    """Its webhook and ours are the same document, but for who says it."""
    theirs, ours = (hook.wait_for(1)[0].content for hook in hooks)
    assert theirs.keys() == ours.keys()
    for by_whom in ("receiver", "externalURL"):
        del theirs[by_whom], ours[by_whom]
    assert ours == theirs


def test_learning_is_paused_from_the_command_line(riverd, prometheus):
    def learning(what, **environment):
        command = [sys.executable, "-m", "riverd", "learning", what, "--url", riverd, "--json"]
        variables = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=60)

    assert json.loads(learning("pause", RIVERD_TOKEN=TOKEN).stdout) == {"state": "paused"}
    assert eventually(lambda: prometheus("riverd_learning == 0"))
    refused = learning("resume", RIVERD_TOKEN="wrong")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "HTTP 401" in refused.stderr
    assert json.loads(learning("resume", RIVERD_TOKEN=TOKEN).stdout) == {"state": "running"}
    assert eventually(lambda: prometheus("riverd_learning == 1"))
