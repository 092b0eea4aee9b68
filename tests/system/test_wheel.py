"""A built wheel names what it needs, and runs outside of the sources."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
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
    run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", wheel, cwd=folder)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # what it depends on is here already; that it names all of that is the next test
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    bring_what_is_compiled(site_packages)
    return folder / "venv" / "bin"


def test_everything_that_is_imported_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    named = {re.split(r"[\[<>=; ]", each)[0].lower() for each in wanted}
    packages = project_packages()
    imported = {
        name.partition(".")[0]
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in names_of(node)
    }
    found = packages_distributions()
    others = imported - packages - sys.stdlib_module_names
    missing = {
        name for name in others if not named & {each.lower().replace("_", "-") for each in found.get(name, [name])}
    }
    assert missing <= {"starlette", "pydantic_core"}  # FastAPI is made of the one, Pydantic of the other
    assert {"numpy", "river", "sqlalchemy"} <= others


def project_packages() -> set[str]:
    return set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )


def names_of(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    match node:
        case ast.Import(names=names):
            return [each.name for each in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case _:
            return []


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
