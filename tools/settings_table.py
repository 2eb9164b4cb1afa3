"""Write the table of all variables into docs/variables.md, between its two markers: `make docs`."""

from __future__ import annotations

from pathlib import Path

from aiohttp_cache_di.settings.report import variables_table

PAGE = Path(__file__).parents[1] / "docs" / "variables.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->\n"


def with_table(text: str) -> str:
    """*text* with the table between its markers; both are appended if there are no markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{variables_table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
