"""Prometheus, Alertmanager and riverd on loopback, for tests: each lives as long as its ``with``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from tests.system.programs import find_program, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
DEADLINE_S = 30.0
HTTP = urllib3.PoolManager(retries=False, timeout=5.0)


def eventually(condition: Callable[[], Any], *, within_s: float = DEADLINE_S) -> Any:
    """What it gives, once that is true; a connection that is refused is not true yet."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        try:
            if found := condition():
                return found
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came true")


def get(url: str) -> bytes | None:
    answer = HTTP.request("GET", url)
    return answer.data if answer.status == 200 else None


@contextmanager
def started(folder: Path, name: str, *arguments: str, **environment: str) -> Iterator[Path]:
    """A process that ends with this; its log."""
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


@contextmanager
def alertmanager(folder: Path, hook: str, *, port: int | None = None, group_interval: str = "1s") -> Iterator[str]:
    """Its URL; it tells this hook at once that an alert fires, and within the interval that it is over."""
    config = {
        "route": {
            "receiver": "hook", "group_by": ["alertname", "model", "rule"],
            "group_wait": "0s", "group_interval": group_interval, "repeat_interval": "1h",
        },
        "receivers": [{"name": "hook", "webhook_configs": [{"url": hook, "send_resolved": True}]}],
    }  # fmt: skip
    with alertmanager_with(folder, json.dumps(config), port=port) as url:  # JSON is YAML
        yield url


@contextmanager
def alertmanager_with(folder: Path, config: str, *, port: int | None = None) -> Iterator[str]:
    """The URL of one with this config."""
    port = port or free_port()
    (folder / "alertmanager.yml").write_text(config, encoding="utf-8")
    options = (
        f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip
    with started(folder, "alertmanager", find_program("prometheus-alertmanager"), *options):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: get(f"{url}/-/ready") is not None)
        yield url


@contextmanager
def riverd(folder: Path, **environment: str) -> Iterator[str]:
    """The URL of one that has begun to read; its folder has a riverd.toml that lets it take any port."""
    command = [sys.executable, "-m", "riverd", "run", "-c", str(folder / "riverd.toml")]
    with started(folder, "riverd", *command, **environment) as log:
        url = eventually(lambda: re.search(r"web: (http://\S+)", log.read_text()))[1]
        eventually(lambda: get(f"{url}/readyz"))
        yield url


Query = Callable[[str], Sequence[dict[str, Any]]]


@contextmanager
def prometheus(folder: Path, riverd_url: str, *, tells: str | None = None) -> Iterator[Query]:
    """A function that evaluates an expression; our rules are judged, and an Alertmanager may be told."""
    port = free_port()
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder)
    targets = [{"targets": [riverd_url.removeprefix("http://")]}]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "riverd", "static_configs": targets}],
    }
    if tells is not None:
        managers = [{"targets": [tells.removeprefix("http://")]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": managers}]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    options = (
        f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    with started(folder, "prometheus", find_program("prometheus"), *options):

        def query(expression: str) -> Sequence[dict[str, Any]]:
            answer = HTTP.request("GET", f"http://127.0.0.1:{port}/api/v1/query", fields={"query": expression})
            if answer.status == 503:  # it starts
                return []
            said = json.loads(answer.data)
            assert said["status"] == "success", f"{expression}: {said['error']}"
            return said["data"]["result"]

        eventually(lambda: query('riverd_up{job="riverd"} == 1'))
        yield query
