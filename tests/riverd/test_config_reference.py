"""docs/config.md is what the config's definitions say."""

from pathlib import Path

from riverd.config import Config
from riverd.config_reference import config_reference

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_up_to_date():
    # to renew it: python -c "from riverd.config_reference import config_reference; print(config_reference(), end='')"
    assert PAGE.read_text(encoding="utf-8") == config_reference()


def test_every_key_is_explained():
    for line in config_reference().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_every_section_is_there():
    page = config_reference()
    for name in Config.model_fields:
        assert f"[{name}]" in page
