"""Four strangers' files go to a first alert by init, check and run, with no edit; without a fault nothing fires."""

import re

import pytest

from docs.strangers.data_sets import DATA_SETS
from docs.strangers.make import FOLDER, tell, transcript
from riverd.cli import main
from stream.timestamps import to_text

RUNS = {}


@pytest.fixture(params=DATA_SETS, ids=lambda data_set: data_set.name)
def told(request, tmp_path_factory):
    """A data set, with what riverd said of it clean and with its fault."""
    data_set = request.param
    if data_set.name not in RUNS:
        folder = tmp_path_factory.mktemp(data_set.name)
        RUNS[data_set.name] = [tell(data_set, folder / str(faulty), faulty=faulty) for faulty in (False, True)]
    return data_set, *RUNS[data_set.name]


@pytest.mark.system
def test_the_clean_stream_raises_no_alert(told):
    _, clean, _ = told
    assert clean.result["alerts"] == []
    assert clean.result["counts"]["dead"] == 0
    assert clean.result["counts"]["orphan"] == 0
    assert clean.check.endswith("no faults.\n")


@pytest.mark.system
def test_the_fault_raises_one_after_it_was_planted(told):
    data_set, _, faulty = told
    assert faulty.result["alerts"]
    planted = to_text(round(data_set.fault_at.timestamp() * 1_000_000))
    assert min(alert["started_at"] for alert in faulty.result["alerts"]) > planted


@pytest.mark.system
def test_the_rules_are_there_for_the_clean_stream_too(told):
    """Quiet because nothing is wrong, not because nobody looks."""
    _, clean, faulty = told
    names = [re.findall(r'^name = "(.*)"', side.config, re.MULTILINE)[1:] for side in (clean, faulty)]
    assert names[0] == names[1]
    assert len(names[0]) >= 3


@pytest.mark.system
def test_the_page_says_what_riverd_says(told):
    data_set, clean, faulty = told
    page = (FOLDER / f"{data_set.name}.md").read_text(encoding="utf-8")
    assert page == transcript(data_set, clean, faulty), "run: python docs/strangers/make.py"


@pytest.mark.system
def test_a_label_that_must_be_chosen_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    orders = next(data_set for data_set in DATA_SETS if data_set.name == "phishing")
    orders.write(tmp_path, False)
    pages = tmp_path / "pages.jsonl"
    pages.write_text(
        pages.read_text(encoding="utf-8").replace('"https"', '"is_https"').replace("0.5", "1"), encoding="utf-8"
    )
    assert main(["init", "--sample", "pages.jsonl"]) == 1
    assert "--label is_phishing" in capsys.readouterr().err
    assert not (tmp_path / "riverd.toml").exists()
