"""The page of all variables is the one that the model makes."""

from __future__ import annotations

from pathlib import Path

from aiohttp_cache_di.settings.report import variables_table

PAGE = Path(__file__).parents[2] / "docs" / "variables.md"


def test_the_page_has_the_table_of_all_variables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    block = text.partition("<!-- settings:begin -->")[2].partition("<!-- settings:end -->")[0]

    assert block.strip() == variables_table().strip(), "make docs writes it"
