"""The operating page is complete: every alert, and every line of the log that asks for somebody."""

import ast
import re
from pathlib import Path

from riverd.alert_checks import BUILT_IN_ALERTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
PACKAGES = ("riverd", "stream", "models", "monitors", "storage")
URGENT = ("warning", "error", "exception")
GAP = "…"


def logged():
    """Every line that riverd logs as a warning or an error, with a gap where figures go."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level), args=[line, *_]):
                        if level in URGENT:
                            assert isinstance(line, ast.Constant), f"{path}:{node.lineno} has no constant text"
                            yield re.sub(r"%[-+0-9.,]*[a-z]", GAP, line.value)


def rows(heading):
    """The first cells of the table under a heading, without their marks."""
    section = PAGE.split(f"\n### {heading}\n")[1].split("\n#")[0]
    return [text for _, text in re.findall(r"^\| (`+)(.+?)\1 \|", section, re.MULTILINE)]


def test_every_urgent_line_of_the_log_is_there_with_its_remedy():
    told = rows("Lines of the log")
    assert sorted({*logged()} - {*told}) == [], "add a row to docs/operating.md"
    assert sorted({*told} - {*logged()}) == [], "take the row out of docs/operating.md"


def test_every_alert_is_there():
    told = rows("Alerts")
    of_prometheus = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    assert {*BUILT_IN_ALERTS, *of_prometheus} <= {*told}
