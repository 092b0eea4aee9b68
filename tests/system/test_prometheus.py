"""Against the real ones: Prometheus scrapes riverd, Alertmanager takes its alerts, promtool finds nothing to blame."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.riverd.http_receiver import HttpReceiver
from tests.system import monitoring
from tests.system.monitoring import DEPLOY, eventually, get
from tests.system.programs import find_program as program
from tests.system.streams_on_disk import configure, write_data

pytestmark = pytest.mark.system

RULES = DEPLOY / "prometheus"
TOKEN = "t0ken"


@pytest.fixture(scope="module")
def hooks():
    """What Alertmanager tells, and what riverd tells by itself."""
    made = HttpReceiver(), HttpReceiver()
    yield made
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory, hooks):
    with monitoring.alertmanager(tmp_path_factory.mktemp("alertmanager"), hooks[0].url) as url:
        yield url


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), count=600)


@pytest.fixture(scope="module")
def riverd(tmp_path_factory, data, alertmanager, hooks):
    """The URL of one that runs: one of its rules fires for good, one while nothing comes."""
    always = {"name": "always", "metric": "positive_rate", "window": "2h", "above": 0.0, "min_labelled": 1}
    silent = {"name": "silent", "metric": "silent_s", "above": 3.0}
    folder = configure(
        tmp_path_factory.mktemp("riverd"),
        data,
        alerts=[
            always | {"severity": "critical", "action": ["log", "webhook", "alertmanager"]},
            silent | {"action": ["log", "alertmanager"]},
        ],
        delivery={"alertmanager": alertmanager, "webhook": hooks[1].url},
        web={"listen": "127.0.0.1:0"},
    )
    with monitoring.riverd(folder, RIVERD_TOKEN=TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, riverd, alertmanager):
    with monitoring.prometheus(tmp_path_factory.mktemp("prometheus"), riverd, tells=alertmanager) as query:
        yield query


def promtool(*arguments, said=None):
    ended = subprocess.run([program("promtool"), *arguments], input=said, capture_output=True, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def told(hook, **labels):
    """What it was told, in order, of alerts with these labels."""
    contents = [each.content for each in hook.received]
    return [content for content in contents if labels.items() <= content["commonLabels"].items()]


def test_promtool_finds_nothing_to_blame_in_the_metrics(riverd):
    metrics = eventually(lambda: get(f"{riverd}/metrics"))
    assert promtool("check", "metrics", said=metrics) == (0, "")
    worse = metrics.replace(b"riverd_events_total", b"riverd_events")
    assert promtool("check", "metrics", said=worse)[0] != 0  # it would have found it


def test_the_rules_pass_their_own_tests():
    assert promtool("check", "rules", str(RULES / "rules.yml"))[0] == 0
    code, said = promtool("test", "rules", str(RULES / "rules_test.yml"))
    assert code == 0, said


def test_without_any_of_the_rules_their_tests_fail(tmp_path):
    """So each rule has a test that sees it fire, or its value."""
    head, *rules = re.split(r"(?=^      - (?:alert|record): )", (RULES / "rules.yml").read_text(), flags=re.MULTILINE)
    (tmp_path / "rules_test.yml").write_text((RULES / "rules_test.yml").read_text())
    for left_out in rules:
        (tmp_path / "rules.yml").write_text(head + "".join(rule for rule in rules if rule is not left_out))
        assert promtool("test", "rules", str(tmp_path / "rules_test.yml"))[0] != 0, left_out


def test_the_configs_of_compose_are_understood():
    code, said = promtool("check", "config", "--syntax-only", str(RULES / "prometheus.yml"))
    assert code == 0, said
    command = [program("amtool"), "check-config", str(RULES / "alertmanager.yml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_metric_of_the_rules_is_there(riverd, prometheus):
    rules = (RULES / "rules.yml").read_text()
    for name in sorted(set(re.findall(r"\b(?<!:)riverd_\w+(?=[{ \[])", rules))):
        assert eventually(lambda name=name: prometheus(name)), name


def test_prometheus_sees_the_rule_fire(prometheus):
    [found] = eventually(lambda: prometheus('ALERTS{alertname="RiverdRule", alertstate="firing", rule="always"}'))
    assert (found["metric"]["severity"], found["metric"]["model"]) == ("critical", "shops")
    assert prometheus('model_window:riverd_logloss_nats:mean{window="2h"}')


def test_alertmanager_takes_it_and_says_what_riverd_says(riverd, hooks):
    """Its webhook and ours are the same document, but for who says it."""
    theirs, ours = (eventually(lambda hook=hook: told(hook, alertname="always"))[0] for hook in hooks)
    assert theirs.keys() == ours.keys()
    for by_whom in ("receiver", "externalURL"):
        del theirs[by_whom], ours[by_whom]
    assert ours == theirs


def test_what_fires_and_is_over_arrives_both_ways(riverd, prometheus, hooks, data):
    """From riverd to Alertmanager to its hook; and from riverd by way of Prometheus and our rules to the same."""
    ways = {"directly": {"alertname": "silent"}, "by Prometheus": {"alertname": "RiverdRule", "rule": "silent"}}
    for labels in ways.values():
        assert eventually(lambda labels=labels: told(hooks[0], **labels))[-1]["status"] == "firing"
    with (data / "events" / "0.jsonl").open("a") as stream:
        stream.write("{}\n")  # any message ends the silence
    for way, labels in ways.items():
        over = eventually(
            lambda labels=labels: [each for each in told(hooks[0], **labels) if each["status"] != "firing"]
        )
        assert over[0]["status"] == "resolved", way
        assert over[0]["alerts"][0]["startsAt"] < over[0]["alerts"][0]["endsAt"]
    assert {each["status"] for each in told(hooks[0], alertname="always")} == {"firing"}  # that one goes on


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
