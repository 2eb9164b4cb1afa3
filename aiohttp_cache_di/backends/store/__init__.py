"""The contract of a store, and what a store may be able to do besides.

`contract` has what each store must do, its promises and its words. `capabilities` are protocols, looked for once when
the stack is built (`wrap.abilities`); two of them have modules of their own: `spooling` keeps bodies of any size,
`inspecting` tells of records without their bodies. `partly` is an answer of which some is missing, `sizes` what a
record may weigh. May import `entries` and what is below it; no store, and nothing that is wrapped around one.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.store.contract import (
    MARK_PREFIX,
    SECRET_BYTES,
    UNREADABLE,
    Counter,
    Found,
    Item,
    Lease,
    Limits,
    Record,
    Row,
    Store,
    StoreEvents,
    Unreadable,
    Written,
    is_mark,
)

__all__ = [
    "MARK_PREFIX",
    "SECRET_BYTES",
    "UNREADABLE",
    "Counter",
    "Found",
    "Item",
    "Lease",
    "Limits",
    "Record",
    "Row",
    "Store",
    "StoreEvents",
    "Unreadable",
    "Written",
    "is_mark",
]
