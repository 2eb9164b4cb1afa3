from __future__ import annotations

from typing import Any

import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace

from aiohttp_cache_di.rfc9111.messages import VariantRef
from tests.messages import a_stored

LONG = "x" * 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"key": LONG},
        {"url": f"http://example.org/{LONG}"},
        {"reason": LONG.encode()},
        {"body": LONG.encode()},
        {"raw_headers": ((LONG.encode(), b""),)},
        {"raw_headers": ((b"", LONG.encode()),)},
        {"vary_fields": (LONG,)},
        {"vary_fields": tuple("x" * 10_000)},
        {"vary_digest": LONG.encode()},
        {"history": (LONG, LONG)},
        {"variants": (VariantRef((LONG,), b"", "k"),)},
        {"variants": (VariantRef(("x",), LONG.encode(), "k"),)},
        {"variants": (VariantRef(("x",), b"", LONG),)},
        {"variants": (VariantRef(("x",), b"", "k", LONG),)},
        {"variants": (VariantRef(("x",), b"", "k"),) * 4000},
    ],
)
def test_all_that_is_kept_of_an_entry_is_weighed(fields: dict[str, Any]) -> None:
    entry = replace(a_stored(), **fields)
    assert entry.size_bytes >= 0.9 * len(encode(entry)) - 100
