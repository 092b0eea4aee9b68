"""compose.yaml says what Compose understands, and gives nothing away."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"


@pytest.fixture(scope="module")
def compose():
    return YAML(typ="safe").load(FILE)


def test_it_fits_the_schema_of_compose():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_what_it_names_is_there(compose):
    services = compose["services"]
    assert {"kafka", "postgres", "riverd"} <= services.keys()
    for name, service in services.items():
        assert "healthcheck" in service, name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[other]
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source.startswith("./") or source in compose["volumes"], volume
    used = {volume.partition(":")[0] for service in services.values() for volume in service["volumes"]}
    assert compose["volumes"].keys() <= used


def test_nothing_listens_beyond_this_machine_and_no_secret_has_a_default(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "TOKEN", "SECRET")):
                assert value.startswith("${"), name
                assert ":?" in value, name  # without it Compose refuses to start


def test_it_starts_the_kafka_that_the_tests_know(compose):
    version = compose["services"]["kafka"]["image"].partition(":")[2]
    assert f"<version>{version}</version>" in (ROOT / "deploy" / "kafka" / "pom.xml").read_text()
