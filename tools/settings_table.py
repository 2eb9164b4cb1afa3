"""Write the table of all variables into README.md, between its two markers: ``python tools/settings_table.py``."""

from __future__ import annotations

from pathlib import Path

from aiohttp_cache_di.settings.report import variables_table

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- settings:begin -->\n", "<!-- settings:end -->\n"


def with_table(text: str) -> str:
    """Return *text* with the table between the markers, which are put at the end if there are none."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{variables_table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
