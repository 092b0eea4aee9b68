"""A built wheel installs into an empty environment and runs there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
[model]
name = "m"
[events]
topic = "clicks"
time = "at"
label = "bought"
[features]
numbers = ["price"]
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    (wheel,) = folder.glob("riverd-*.whl")
    run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", wheel, cwd=folder)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    bring_what_is_compiled(site_packages)
    return folder / "venv" / "bin"


def bring_what_is_compiled(site_packages: Path) -> None:
    """Of the same sources: compiling them once more would take a minute, and show nothing new."""
    for package in ("models/kernels", "models", "monitors", "stream"):
        for source in (ROOT / package).glob("*.py"):
            installed = site_packages / package / source.name
            if installed.read_bytes() == source.read_bytes():
                shutil.copystat(source, installed)  # the cache goes by the time of the source
        for compiled in (ROOT / package / "__pycache__").glob("*.nb?"):
            (site_packages / package / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, site_packages / package / "__pycache__")


def test_the_wheel_runs_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    topic = tmp_path / "data" / "clicks"
    topic.mkdir(parents=True)
    lines = (json.dumps({"at": 1_700_000_000 + i, "bought": i % 3 == 0, "price": i % 3}) for i in range(500))
    (topic / "0.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "riverd.toml").write_text(CONFIG)
    result = json.loads(run(installed / "riverd", "run", "--until-idle", "--json", cwd=tmp_path))
    assert result["counts"]["resolved"] == 500
    assert result["metrics"]["roc_auc"] > 0.95
    again = json.loads(run(installed / "riverd", "run", "--until-idle", "--json", cwd=tmp_path))
    assert again["model_sha256"] == result["model_sha256"]


def test_a_package_that_hides_ours_is_named(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    ended = subprocess.run(
        [installed / "python", "-c", "import riverd"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert f"riverd's package 'models' is hidden by {tmp_path / 'models' / '__init__.py'}" in ended.stderr
