"""Every command of the quick start works as it stands there."""

import re
import shlex
from pathlib import Path

import pytest

from docs.strangers.data_sets import orders
from riverd.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"


@pytest.mark.system
def test_the_commands_work_in_their_order(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in re.findall(r"^\$ (riverd .*)$", text, re.MULTILINE)]
    assert [command[0] for command in commands] == ["init", "check", "run", "deadletters", "doctor"]
    monkeypatch.chdir(tmp_path)
    orders(tmp_path, True)
    for command in commands:
        assert main(command) == 0, command
    said = capsys.readouterr().out
    assert '"rule": "labels-missing"' in said
    assert "0 of 0 dead letters shown." in said
    linked = re.findall(r"\]\(([^)]*)\)", text)
    assert linked
    assert all((PAGE.parent / path).is_file() for path in linked)
