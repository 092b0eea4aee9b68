"""Every command of the quick start works as it stands there."""

import pytest

from docs.strangers.data_sets import orders
from riverd.cli import main
from tests.system.page_commands import commands_of, links_of


@pytest.mark.system
def test_the_commands_work_in_their_order(tmp_path, monkeypatch, capsys):
    commands = commands_of("quickstart.md")
    assert [command[0] for command in commands] == ["init", "check", "run", "deadletters", "doctor"]
    monkeypatch.chdir(tmp_path)
    orders(tmp_path, True)
    for command in commands:
        assert main(command) == 0, command
    said = capsys.readouterr().out
    assert '"rule": "labels-missing"' in said
    assert "0 of 0 dead letters shown." in said
    assert all(path.is_file() for path in links_of("quickstart.md"))
