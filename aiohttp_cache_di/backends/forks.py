"""What a forked child has to put right: the threads, locks and connections that it has are its parent's."""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ["Forkable", "note_forks"]


class Forkable(Protocol):
    """Something that does not work in a forked child as it is."""

    def after_fork(self) -> None:
        """Put this object right; called in the child, where no other thread runs, before any other code."""


_all: Final[WeakSet[Forkable]] = WeakSet()


def note_forks(part: Forkable) -> None:
    """Call ``part.after_fork()`` in each forked child, if *part* still exists then; the order of calls is not fixed."""
    _all.add(part)


def _after_fork() -> None:
    for part in list(_all):
        part.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
