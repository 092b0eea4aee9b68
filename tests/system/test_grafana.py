"""Every expression of the dashboard has an answer from a Prometheus that scrapes a running riverd."""

import json
import re

import pytest

from deploy.grafana.dashboard import FILE
from tests.riverd.http_receiver import HttpReceiver
from tests.riverd.streams import ALERTS, MINUTE_US, START_US, pairs, split, write
from tests.system import monitoring
from tests.system.monitoring import eventually, get
from tests.system.retraining import ask, daemon_of, worker_of
from tests.system.streams_on_disk import configure

pytestmark = pytest.mark.system

DASHBOARD = json.loads(FILE.read_text(encoding="utf-8"))
CHOSEN = {"$model": "shops", "$instance": ".+", "$window": ".+", "$__rate_interval": "10s"}


def with_values(expression):
    """As Grafana asks it, all of each variable being chosen."""
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    return expression


def expressions():
    """Each with what it is for."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target.get('legendFormat', target['refId'])}", target
    # Grafana asks for series when it fills a variable, so without the function around them
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], {"expr": re.fullmatch(r"label_values\((.+), \w+\)", variable["definition"])[1]}


@pytest.fixture(scope="module")
def hook():
    made = HttpReceiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def riverd(tmp_path_factory, hook):
    """One with every figure that there is: its windows have been full more than once, a challenger is in shadow."""
    data, sent = tmp_path_factory.mktemp("data"), pairs(4000, seed=1)
    first, whole = split(sent[: len(sent) * 3 // 4], partitions=2), split(sent, partitions=2)
    write(first, data)
    folder = configure(
        tmp_path_factory.mktemp("riverd"), data,
        alerts=[alert | {"action": ["log", "webhook"]} for alert in ALERTS],
        monitors={"windows": ["30m", "2h"], "slices": ["shop"], "guardrails": ["amount"]},
        delivery={"webhook": hook.url}, web={"listen": "127.0.0.1:0"},
    )  # fmt: skip
    with monitoring.riverd(folder, RIVERD_TOKEN="t0ken") as url:
        # it may still compile, and a figure is absent until it is known

        def metrics(text):
            return text.encode() in (get(f"{url}/metrics") or b"")

        eventually(lambda: metrics("riverd_slice_roc_auc_ratio{"), within_s=120.0)
        ask(folder, "retrain", from_us=START_US + 60 * MINUTE_US)
        eventually(lambda: metrics('decision="started",model="shops"} 1.0'))
        eventually(lambda: worker_of(daemon_of(folder)) is None)  # it is trained: the next tick has it in shadow
        for (topic, name), messages in whole.items():
            with (data / topic / f"{name}.jsonl").open("ab") as file:
                file.writelines(message + b"\n" for message in messages[len(first[topic, name]) :])
        eventually(lambda: metrics("riverd_challenger_gain_nats{"))
        yield url


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, riverd):
    with monitoring.prometheus(tmp_path_factory.mktemp("prometheus"), riverd) as query:
        yield query


@pytest.fixture(scope="module")
def scraped(riverd, prometheus):
    """Names of the metrics of a scrape."""
    return set(re.findall(r"^(\w+)", get(f"{riverd}/metrics").decode(), re.MULTILINE))


def test_every_metric_that_it_names_is_scraped(scraped):
    for of, target in expressions():
        names = set(re.findall(r"riverd_\w+", target["expr"]))
        assert names, of
        assert names <= scraped, of


@pytest.mark.parametrize(("of", "target"), list(expressions()))
def test_every_expression_has_an_answer(prometheus, of, target):
    found = eventually(lambda: prometheus(with_values(target["expr"])), within_s=15.0)
    for name in re.findall(r"{{(\w+)}}", target.get("legendFormat", "")):
        assert all(name in series["metric"] for series in found), f"the legend of {of} wants {name}"


def test_tables_have_the_columns_that_they_show(prometheus):
    tables = [panel for panel in DASHBOARD["panels"] if panel["type"] == "table"]
    assert len(tables) == 2
    for panel in tables:
        [shown] = [each for each in panel["transformations"] if each["id"] == "filterFieldsByName"]
        columns = [name for name in shown["options"]["include"]["names"] if not name.startswith("Value #")]
        for target in panel["targets"]:
            found = eventually(lambda target=target: prometheus(with_values(target["expr"])))
            assert all(set(columns) <= series["metric"].keys() for series in found), panel["title"]


def test_what_is_no_promql_would_be_found(prometheus):
    with pytest.raises(AssertionError, match="parse error"):
        prometheus("sum by (kind (riverd_messages_total)")
