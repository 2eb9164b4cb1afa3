"""Background tasks of an event loop."""

from __future__ import annotations

from aiohttp_cache_di.backends.tasks import Tasks


def test_what_is_closed_after_its_event_loop_begins_no_task() -> None:
    async def delete() -> None:
        raise AssertionError("it runs")

    assert not Tasks().spawn(delete(), owner=None)  # no warning says that it was never awaited
