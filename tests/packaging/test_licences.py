"""The licences of what an install brings along."""

from __future__ import annotations

import pytest

from tools.licences import brought_along, is_allowed, licence_of


def test_what_an_install_brings_along_is_all_allowed() -> None:
    brought = brought_along()
    assert {"aiohttp", "yarl", "pymongo", "aiobotocore", "hiredis"} <= set(brought)  # of each extra, and what they need
    assert not {"pytest", "ruff", "aiohttp-cache-di"} & set(brought)
    assert not [name for name, one in brought.items() if not is_allowed(licence_of(one))]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("(MIT OR GPL-3.0-only)", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_of_several_licences_each_must_be_allowed_and_of_a_choice_one(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed
