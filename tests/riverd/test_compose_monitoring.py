"""Prometheus, Alertmanager and Grafana of compose.yaml find each other, and riverd."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MONITORING = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


def load(path):
    return YAML(typ="safe").load(path)


@pytest.fixture(scope="module")
def compose():
    return load(ROOT / "compose.yaml")


@pytest.fixture(scope="module")
def prometheus():
    return load(DEPLOY / "prometheus" / "prometheus.yml")


def mounted(service):
    return {target: source for source, target in (each.split(":")[:2] for each in service["volumes"])}


def test_they_start_only_when_asked_for(compose):
    asked_for = {name for name, service in compose["services"].items() if service.get("profiles")}
    assert asked_for == MONITORING.keys()
    assert {tuple(compose["services"][name]["profiles"]) for name in MONITORING} == {("monitoring",)}


def test_prometheus_scrapes_riverd_with_its_token_and_tells_alertmanager(compose, prometheus):
    [job] = prometheus["scrape_configs"]
    assert job["job_name"] == "riverd"  # which the rules look for
    assert 'job="riverd"' in (DEPLOY / "prometheus" / "rules.yml").read_text()
    port = compose["services"]["riverd"]["environment"]["RIVERD_LISTEN"].rpartition(":")[2]
    assert job["static_configs"] == [{"targets": [f"riverd:{port}"]}]
    assert prometheus["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    [secret] = compose["services"]["prometheus"]["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    assert compose["secrets"][secret] == {"environment": "RIVERD_TOKEN"}


def test_the_files_that_they_read_are_there(compose, prometheus):
    for name in MONITORING:
        for target, source in mounted(compose["services"][name]).items():
            assert not source.startswith("./") or (ROOT / source).exists(), target
    folder = ROOT / mounted(compose["services"]["prometheus"])["/etc/prometheus"]
    assert all((folder / name).is_file() for name in ["prometheus.yml", "alertmanager.yml", *prometheus["rule_files"]])


def test_grafana_finds_the_dashboard_and_prometheus(compose):
    folder = DEPLOY / "grafana" / "provisioning"
    volumes = mounted(compose["services"]["grafana"])
    assert ROOT / volumes["/etc/grafana/provisioning"] == folder
    [source] = load(folder / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", f"http://prometheus:{MONITORING['prometheus']}")
    [provider] = load(folder / "dashboards" / "riverd.yml")["providers"]
    place = f"{provider['options']['path']}/riverd.json"
    assert ROOT / volumes[place] == DEPLOY / "grafana" / "riverd.json"
    assert compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == place


def test_each_answers_where_the_page_says(compose):
    for name, port in MONITORING.items():
        assert compose["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert f"http://127.0.0.1:{port}/" in compose["services"][name]["healthcheck"]["test"][-1]


def test_alertmanager_asks_riverd_for_a_retrain_with_its_token(compose):
    config = load(DEPLOY / "prometheus" / "alertmanager.yml")
    [webhook] = next(each for each in config["receivers"] if each["name"] == "riverd")["webhook_configs"]
    port = compose["services"]["riverd"]["environment"]["RIVERD_LISTEN"].rpartition(":")[2]
    assert webhook["url"] == f"http://riverd:{port}/api/retrain"
    [secret] = compose["services"]["alertmanager"]["secrets"]
    assert webhook["http_config"]["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
