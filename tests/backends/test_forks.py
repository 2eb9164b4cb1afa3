"""What a forked child has to put right is put right in the child alone, and for as long as it exists."""

from __future__ import annotations

import os
import weakref

import pytest

from aiohttp_cache_di.backends.forks import note_forks
from tests.posix import posix_only


class Part:
    """Something that has to be put right in a forked child."""

    told: int = 0

    def after_fork(self) -> None:
        self.told += 1


@posix_only
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the fork is what is tested
def test_each_part_is_told_in_the_child_and_none_in_the_parent() -> None:
    parts = [Part(), Part()]
    for part in parts:
        note_forks(part)
    pid = os.fork()
    if pid == 0:
        os._exit(10 * parts[0].told + parts[1].told)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 11
    assert [part.told for part in parts] == [0, 0]


def test_a_part_is_not_kept_alive() -> None:
    part = Part()
    note_forks(part)
    gone = weakref.ref(part)
    del part
    assert gone() is None
