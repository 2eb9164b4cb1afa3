"""The README's table of variables is the one that the model makes."""

from __future__ import annotations

from pathlib import Path

from aiohttp_cache_di.settings.report import variables_table

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_table_of_all_variables() -> None:
    text = README.read_text(encoding="utf-8")
    block = text.partition("<!-- settings:begin -->")[2].partition("<!-- settings:end -->")[0]

    assert block.strip() == variables_table().strip(), "python tools/settings_table.py writes it"
