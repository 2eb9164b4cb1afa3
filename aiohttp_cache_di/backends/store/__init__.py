"""The contract of a store, and its optional capabilities.

`contract` states what each store must do, and defines the types. `capabilities` are protocols that a store may satisfy,
too; some have modules of their own: `spooling` stores large bodies without having them in memory, `inspecting` lists
records without their bodies. `sizes` has the size of items and the limits of records, `messages` what of an error
may be shown. May import `entries` and what is below it; no store, and nothing that is wrapped around one.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.store.contract import (
    AFTER_MARKS,
    MARK_PREFIX,
    SECRET_BYTES,
    UNREADABLE,
    Counter,
    Found,
    Item,
    Lease,
    Limits,
    PartlyReadError,
    Record,
    Row,
    Store,
    StoreEvents,
    Unreadable,
    Written,
    is_mark,
)

__all__ = [
    "AFTER_MARKS",
    "MARK_PREFIX",
    "SECRET_BYTES",
    "UNREADABLE",
    "Counter",
    "Found",
    "Item",
    "Lease",
    "Limits",
    "PartlyReadError",
    "Record",
    "Row",
    "Store",
    "StoreEvents",
    "Unreadable",
    "Written",
    "is_mark",
]
