"""What the page is made of: all parts of its script, and colours that can be read (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from aiohttp_cache_di.admin.page import PARTS

ASSETS = files("aiohttp_cache_di.admin") / "assets"
STYLE = (ASSETS / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: dict[str, str]) -> None:
    for ink in ("ink", "soft", "bad", "warn", "ok", "cached", "origin", "accent"):
        assert contrast(scheme[ink], scheme["card"]) >= 4.5, ink
    for ground in ("bg", "hover", "select", "field", "bad-bg", "warn-bg"):
        assert contrast(scheme["ink"], scheme[ground]) >= 4.5, ground
    for ground in ("bg", "hover", "select"):
        assert contrast(scheme["soft"], scheme[ground]) >= 4.5, ground
    assert contrast(scheme["accent"], scheme["accent-ink"]) >= 4.5
    assert contrast(scheme["field-line"], scheme["card"]) >= 3


def test_each_part_of_the_script_is_in_the_page() -> None:
    assert sorted(PARTS) == sorted(part.name.removesuffix(".js") for part in (ASSETS / "script").iterdir())
