"""Pickles that are read as data: what is not wanted is named and refused, and nothing is run."""

from __future__ import annotations

import pickle
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.entries.older import UnknownPickleError, is_signed, read_older
from aiohttp_cache_di.entries.pickled import read_pickle
from tests.older_pickles import Made, older_pickle, older_response, pickled

URL = "https://api.example.org/items?b=2&a=1"


class Hostile:
    """Runs a command where a reader of pickles calls what it is told to."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", str(self.marker)],)


def test_a_response_is_read_with_all_that_is_needed_of_it() -> None:
    hop = older_response("https://api.example.org/old", status=302, headers=[("Location", "/items")], body=None)
    sent = [("Authorization", "Bearer alice")]
    read = read_older(older_pickle(URL, headers=[("ETag", '"1"')], request_headers=sent, history=(hop,), left_s=None))
    assert (read.method, read.url, read.status, read.reason, read.version) == ("GET", URL, 200, "OK", (1, 1))
    assert (read.body, read.headers[0]) == (b"body", (b"ETag", b'"1"'))
    assert read.request_headers[-1] == (b"Authorization", b"Bearer alice")
    assert read.expires == float("inf")
    assert datetime.now(UTC).timestamp() - read.created_at == pytest.approx(10, abs=5)
    (hop_read,) = read.history
    assert (hop_read.status, hop_read.url, hop_read.body) == (302, "https://api.example.org/old", b"")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_of_pickle_runs_anything(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "run"
    for value in (Hostile(marker), {"a": [Hostile(marker)]}):
        with pytest.raises(UnknownPickleError):
            read_older(pickle.dumps(value, protocol))
    within = pickle.dumps(Hostile(marker), 4)[2:-1].partition(b"\x8c")
    spliced = older_pickle(URL).replace(b"N", within[1] + within[2], 1)
    with pytest.raises(UnknownPickleError, match=r"holds subprocess\.call"):
        read_older(spliced)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "cut off"),
        (b"cos\nsystem\n(X\x02\x00\x00\x00idtR.", r"holds os\.system"),
        (b"cbuiltins\neval\n.", r"holds builtins\.eval"),
        (pickled(Made("builtins.exec", ("1",))), r"holds builtins\.exec"),
        (pickled(Made("aiohttp_client_cache.response.CachedResponse.__init__")), "holds aiohttp_client_cache"),
        (b"(ios\nsystem\n.", "not known"),
        (b"\x80\x09.", "protocol"),
        (b"\x80\x04\x82\x01.", "not known"),
        (b"\x80\x04h\x07.", "damaged"),
        (b"\x80\x04K\x01K\x02\x86K\x03b.", "a state"),
        (b"\x80\x04}K\x01K\x02s.", "not text"),
        (b"\x80\x04}(K\x01u.", "damaged"),
        (b"\x80\x04(.", "damaged"),
        (b"\x80\x04tttt.", "damaged"),
        (b"\x80\x04N)R.", "calls something"),
        (b"\x80\x04N.", "not a response"),
        (b"\x80\x04]\x94h\x00a.", "not a response"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b".", "cut off"),
        (b"\x80\x04X" + struct.pack("<I", 2**31) + b"a.", "cut off"),
        (b"\x80\x04" + b")" * 300_000 + b".", "more than"),
        (older_pickle(URL) + b"N.", "followed"),
        (older_pickle(URL)[:-1], "cut off"),
        (pickled(older_response("ftp://a.test/")), "not one of HTTP"),
        (older_pickle(URL, status="200"), "not a response"),
        (older_pickle(URL, created_at=Made("datetime.datetime", (b"\xff" * 10,))), "not a response"),
        (older_pickle(URL, created_at=Made("datetime.datetime", (b"\x07",))), "not a response"),
        (older_pickle(URL, raw_headers=((b"a",),)), "not a response"),
        (older_pickle(URL, history=tuple(older_response(URL) for _ in range(31))), "not a response"),
        (older_pickle(URL, extra=Made("decimal.Decimal", ("1",))), r"holds decimal\.Decimal"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_anything_else_is_refused_in_words(value: bytes, why: str) -> None:
    with pytest.raises(UnknownPickleError, match=why):
        read_older(value)


def test_what_is_nested_deeply_or_in_itself_takes_neither_stack_nor_time() -> None:
    deep = b"\x80\x04)" + b"\x85" * 150_000
    read, end = read_pickle(deep + b".", ())
    assert (isinstance(read, tuple), end) == (True, len(deep) + 1)
    del read
    laughs = b"\x80\x04K\x01\x94" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(200))
    with pytest.raises(UnknownPickleError, match="not a response"):
        read_older(laughs + b".")
    cyclic, _ = read_pickle(b"\x80\x04]\x94h\x00a.", ())
    assert cyclic[0] is cyclic


def test_what_is_signed_is_believed_with_its_key_alone() -> None:
    # Made by itsdangerous: Signer("a secret of the service", salt=b"aiohttp-client-cache").sign(b"\x80\x04N.")
    signed = b"\x80\x04N." + b".VSAzKKfsuV1mWN-tSgXukuszC9I"
    assert is_signed(signed)
    for secrets in ([], [b"another"]):
        with pytest.raises(UnknownPickleError, match="signed with a key"):
            read_older(signed, secrets)
    with pytest.raises(UnknownPickleError, match="not a response"):  # and so it was read
        read_older(signed, [b"another", b"a secret of the service"])
