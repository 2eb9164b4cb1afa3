"""Backends: where responses are stored, and what every store gets around it.

A *store* does little: it gets, puts and deletes records under keys (`store.contract`). A *backend* is what users
configure and the engine calls: the settings, the methods that users may override, and a store inside its *stack*
(`wrap`), which adds deadlines, batching, write-behind, leases and copies in memory to any store.

Terms:

- an *entry* is a stored response, and an *alias* the key of another entry;
- an *item* is what is stored under a key: an entry, an alias, or the output of a user's serializer (`Opaque`);
- an item *leads on* if it is a redirect or an alias;
- a *record* is an item with its key and the time when it expires; a *frame* is an encoded item, as it is stored;
- a *lease* makes one process, for a short time, the only one that fetches a key from the origin;
- a *mark* is the record of a purge by tag.

This package may import `response` and what lies below it: policy, keys, entries, telemetry, rfc9111, errors. It knows
nothing of requests under way; they belong to the engine. A backend that needs a driver is imported on first use.

Imports point down this list::

    dynamodb/ filesystem/ mongodb/ redis/ sqlite/   a store and a backend each; none imports another
    base         `CacheBackend`: the methods that users call and override
    agreement    whether options given beside a backend say the same as the backend
    operating/   for operators: list entries, purge them, explain what a request would get
    configured   the settings of a backend, and how options become settings
    stacked      the backend's stack, and the two storages through which users see it
    memory/      the store in this process's memory
    rows         shared by stores that keep one row per key in a database server
    wrap/        the stack around a store: what the engine calls, and the storage API for users
    storage      `BaseCache`: that storage API, which users also implement to store responses elsewhere
    store/       the contract of a store, and its optional capabilities
    options/     the options, their accepted values, and how a change is noticed
    disk/        files that other users of the machine cannot touch, and locks on their bytes
    bounded      a table that remembers a limited number of keys
    eviction     which entry of a full table is evicted next
    loops        what belongs to one event loop, such as a client of a driver
    calls        calls that are shared or outlive their callers, and how those of a driver are cancelled
    tasks        background tasks, and futures whose result nothing awaits
    forks        what has to be put right in a forked child
    batches      a sequence, some items at a time; keys in the order in which a store is cleared
    actions      what applies to one request, for callers that use a backend without a session

Each method of a backend is written in the class for its subject; a class derives from those below it::

    base.CacheBackend               what the engine calls and users override
      operating.explaining.Explained    explain
      operating.operated.Operated       entries, purge, usage; has_url, delete_url, get_urls
      operating.deleting.Deleting       delete, bulk_delete, invalidate
      configured.Configured             the settings, and what follows from them for a request: its key, its principal
      policy.rules.book.RuleBook        the rules for a request, from the settings and its own arguments
      stacked.Stacked                   responses, redirects, the digest secret, ping, settle, clear
      options.revision.Revised          notices changes of settings

The parts of a backend::

    CacheBackend ── stack ──────────── StoreStack ── LoopStack, one per event loop ── Store   (one per backend)
         │                                 ▲
         ├── responses ── StackCache ──────┤   shows responses, but no redirects
         └── redirects ── StackCache ──────┘   shows redirects and aliases

The path of a hit, a miss, a validation and a deletion through the stack, from the engine (left) to the store (right)::

    hit in memory   peek ─▶ pending write? ─▶ tombstone? ─▶ near tier, or a store in memory ──────────────▶ entry

    hit in store    peek finds nothing
                    fetch ─▶ near.begin ─▶ batching ─▶ guard ─▶ chunks ─▶ Store.get, which also decodes
                    entry ◀─ near.end, which keeps a copy unless the key has changed during the read

    miss            fetch ─▶ … ─▶ guard ─▶ Store.get finds nothing, or the guard answers FAILED
                    leases ─▶ guard ─▶ Store.acquire, if the store has leases; while another process holds the
                                       lease, look up and ask again at intervals
                    (first_looks ─▶ Store.get_or_acquire does both in one call, if the store can and a miss is likely)
                    … the engine asks the origin; the body arrives …
                    store ─▶ pending: readable from here at once; the caller does not wait
                               └─▶ guard ─▶ chunks ─▶ Store.put, which also releases the lease ─▶ near, outcome
                                     └─ on failure: tried again, when the circuit breaker allows it

    validation      fetch finds a stale entry; a 304 refreshes it ─▶ store, as after a miss (a validation in the
                    background takes no lease)

    deletion        in every loop: requests under way may not store, pending and near drop the keys
                    ─▶ guard ─▶ Store.delete
                          └─ on failure: a tombstone, so that what is stored under the key is not used

`wrap` explains the same in sentences.

A URL has either a response or a redirect, so both share one namespace, and one look-up finds either. If a user sets
`responses` or `redirects` to a `BaseCache` of their own, `wrap.foreign` makes one store of the two storages, and a new
stack is built around it. Reading such a storage directly shows only what has been written so far;
``await backend.settle()`` waits for pending writes first. Our own storages do that by themselves.
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

if not TYPE_CHECKING:  # type checkers see the imports above, and report any other name
    __getattr__ = imported_later(globals(), _LAZY)
