"""The dashboard in the repository is what its generator makes, and Grafana can lay it out."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

from deploy.grafana.dashboard import FILE, dashboard, text

PANELS = dashboard()["panels"]


def expressions():
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield target["expr"]


def test_the_file_is_what_the_generator_makes():
    assert FILE.read_text(encoding="utf-8") == text(), "run python -m deploy.grafana.dashboard"


def test_every_panel_has_a_number_and_a_place_of_its_own():
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert place["w"] > 0 < place["h"]
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


def test_every_panel_says_what_it_shows_and_no_title_is_used_twice():
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["targets"], panel["title"]
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters)


def test_variables_that_are_used_are_there_and_the_other_way_round():
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text())) - {"__rate_interval", "__all"}
    assert used == variables


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_is_of_the_model_that_was_chosen(expression):
    selectors = re.findall(r"riverd_\w+\{([^}]*)\}", expression)
    assert selectors
    for selector in selectors:
        assert 'instance=~"$instance"' in selector
        assert 'model="$model"' in selector or "riverd_up" in expression


def test_it_is_json_of_a_modest_size():
    assert json.loads(text()) == dashboard()
    assert Path(FILE).stat().st_size < 100_000
