"""Which bodies need not be checked again."""

from __future__ import annotations

import os
import time

import pytest

from aiohttp_cache_di.backends.filesystem.records.checked import Checked
from aiohttp_cache_di.backends.filesystem.records.packing import Filed

BODY = Filed(bytes(8), 10, b"crc1")
NOW = int(time.time())


def status(changed_ns: int, inode: int = 1) -> os.stat_result:
    """The stat result of a file that was changed at that time."""
    at = changed_ns / 1e9
    names = {"st_mtime": at, "st_ctime": at, "st_mtime_ns": changed_ns, "st_ctime_ns": changed_ns}
    return os.stat_result((0o100600, inode, 1, 1, 0, 0, 10, int(at), int(at), int(at)), names)


@pytest.mark.parametrize(
    ("changed_ns", "is_believed"),
    [
        (NOW * 10**9, False),  # a clock in seconds: the next change may have the same time
        ((NOW - 1) * 10**9, False),
        ((NOW - 10) * 10**9, True),
        ((NOW - 1) * 10**9 + 123_456_789, True),  # a clock in ticks of the kernel
        ((NOW + 1) * 10**9 + 123_456_789, False),
    ],
)
def test_a_check_counts_once_a_later_change_would_bear_another_time(
    monkeypatch: pytest.MonkeyPatch, changed_ns: int, is_believed: bool
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.5)
    checked = Checked()
    checked.note(BODY, status(changed_ns))
    assert checked.has(BODY, status(changed_ns)) is is_believed


def test_a_check_counts_for_one_file_as_it_was() -> None:
    checked = Checked()
    long_ago = (NOW - 100) * 10**9
    checked.note(BODY, status(long_ago))
    assert checked.has(BODY, status(long_ago))
    assert not checked.has(BODY, status(long_ago + 1))
    assert not checked.has(BODY, status(long_ago, inode=2))
    assert not checked.has(BODY._replace(token=b"another1"), status(long_ago))
