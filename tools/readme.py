"""Put the generated table of variables into README.md; `make docs`."""

from __future__ import annotations

from pathlib import Path

from aiohttp_cache_di.settings_report import variables_table

__all__ = ["README", "with_table"]

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"


def with_table(text: str, table: str) -> str:
    """Replace what stands between the two markers by *table*."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{README.name} has no {BEGIN} followed by {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(), variables_table()))
