"""Where responses are kept.

This room may import `response` and what lies below it: policy, keys, entries, telemetry, rfc9111, errors. It knows no
request on its way: that is the engine's. A backend that needs a driver is imported when it is asked for.

Imports point down this list::

    dynamodb/ filesystem/ mongodb/ redis/ sqlite/   each keeps to the contract and does no more
    base         `CacheBackend`: the methods that users call and override
    agreement    whether options beside a backend say what it says
    operating/   for operators: entries, purges, what is kept for a URL, "what would you do with this request?"
    configured   the settings of a backend, and how options become them
    stacked      a backend's hold on its store: one stack, and the two storages that users see
    memory/      the store in this process's memory
    loops        a driver's client for each event loop
    wrap/        what every store gets around it: the stack that the engine asks, and the item face that users see
    storage      `BaseCache`, the API of that face, and of storages that users write
    store/       the contract of a store, and what one may be able to do besides
    options/     what may be set, to what, and how a change is noticed
    disk/        files that no other user of the machine can touch, and locks on them
    eviction     which entry of a bounded table goes first
    actions      what the cache means to do, for callers that drive a backend by hand

The methods of a backend are written where their subject is; each class knows some of those below it::

    base.CacheBackend               what the engine asks, and users override
      operating.explaining.Explained    explain
      operating.operated.Operated       entries, purge, usage
      operating.urls.Addressed          has_url, delete_url, get_urls
      operating.deleting.Deleting       bulk_delete, invalidate
      configured.Configured             the settings
      options.naming.Naming             whom a request is for
      policy.rules.book.RuleBook        the rules, from settings and the wishes of a call
      stacked.Stacked                   responses, redirects, the secret, ping, settle
      options.revision.Revised          notices each change

How a backend is put together::

    CacheBackend ── stack ──────────── StoreStack ── LoopStack, one per event loop ── Store   (one per backend)
         │                                 ▲
         ├── responses ── StackCache ──────┤   shows what is an end in itself
         └── redirects ── StackCache ──────┘   shows redirects and aliases

How a hit, a miss and a validation go through the stack, from the engine at the left to the store at the right::

    hit in memory   peek ─▶ pending? ─▶ tombstone? ─▶ near, or a store that answers at once ──────────────▶ entry
    hit in store    peek: nothing
                    fetch ─▶ near.begin ─▶ batching ─▶ guard ─▶ chunks ─▶ Store.get
                                                                       │ decoded where the bytes are
                    entry ◀─ near.end, which keeps a copy if the key has not changed meanwhile
    miss            fetch ─▶ … ─▶ guard ─▶ Store.get: nothing, or the guard's "failed"
                    leases ─▶ guard ─▶ Store.acquire, where it can lease: held by another? look again, now and then
                    (where the store does both at once and the miss is likely: first_looks ─▶ Store.get_or_acquire)
                    (the origin is asked; the body comes to its end)
                    store ─▶ pending: read from here at once, the caller waits for nothing
                               └─▶ guard ─▶ chunks ─▶ Store.put, lease given back with it ─▶ near, outcome told
                                     └─ failed: tried again, in the rhythm of the circuit
    validation      fetch gives a stale entry; a 304 makes it fresh ─▶ store, as after a miss; no lease where
                    it is done in the background
    deletion        every loop: flights may not store, pending and near forget ─▶ guard ─▶ Store.delete
                                     └─ failed: a tombstone, so that nothing under the key is used

`wrap` tells the same in sentences, with what each part promises.

A URL has a response or a redirect, so both share one namespace and a look-up asks once. Where a user sets `responses`
or `redirects` to a `BaseCache` of their own, the two become a store through `wrap.foreign`, and a new stack is built
around it. A look straight into such a storage sees what has been written so far; ``await backend.settle()`` first waits
for what is on its way. Looks through our own faces wait by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import BaseCache, BaseStorage, CacheBackend, DictCache, ResponseOrKey
from aiohttp_cache_di.backends.operating.explanation import Explanation
from aiohttp_cache_di.backends.store.inspecting import Purged, Usage
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.lazy import imported_later

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache
    from aiohttp_cache_di.backends.filesystem.backend import FileBackend, FileCache
    from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache
    from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache
    from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLiteCache

_LAZY = {
    "DynamoDBBackend": "dynamodb",
    "DynamoDbCache": "dynamodb",
    "FileBackend": "filesystem",
    "FileCache": "filesystem",
    "MongoDBBackend": "mongodb",
    "MongoDBCache": "mongodb",
    "RedisBackend": "redis",
    "RedisCache": "redis",
    "SQLiteBackend": "sqlite",
    "SQLiteCache": "sqlite",
}

__all__ = [
    "BaseCache",
    "BaseStorage",
    "CacheActions",
    "CacheBackend",
    "DictCache",
    "DynamoDBBackend",
    "DynamoDbCache",
    "EntryInfo",
    "Explanation",
    "FileBackend",
    "FileCache",
    "MongoDBBackend",
    "MongoDBCache",
    "Purged",
    "RedisBackend",
    "RedisCache",
    "ResponseOrKey",
    "SQLiteBackend",
    "SQLiteCache",
    "Usage",
]

if not TYPE_CHECKING:  # for them the names are imported above, and another one is none
    __getattr__ = imported_later(globals(), _LAZY)
