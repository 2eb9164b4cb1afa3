"""The fixture of `with_asyncio` for test suites without a plugin that runs coroutines: it says what is missing."""

from __future__ import annotations

import pytest


@pytest.fixture
def cached_session() -> None:
    """Fail: an open session needs an event loop, which neither pytest-asyncio nor anyio's plugin provides here."""
    pytest.fail(
        "cached_session is open in the event loop of the test, and nothing runs one: pip install pytest-asyncio, "
        "or anyio for its plugin; it must not be turned off by -p no:…",
        pytrace=False,
    )
