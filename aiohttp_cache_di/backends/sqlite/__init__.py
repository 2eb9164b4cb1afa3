"""Storage in a SQLite file: the embedded default, shared by all processes of one machine.

How a call moves through the room, from the event loop to the threads and back::

    cache, backend      what users make: a stack (`backends.wrap`) around one store; their `options`
    store               get many, put many …: each is a job for a thread, or a write for the queue
    database            the connections of the running loop; new ones when they were lost
    looking/            look-ups, and leases where nothing is found, many in one job of the reader's thread; walks
    eviction            keeps the file within its bounds, between the writes of others
    connections         a reader and a writer, opened, watched, given up and closed; checks of the counters
    writing/            group commits, in the writer's thread: what is done in a transaction
    shared/             whether a copy in memory is still what is stored; locks that say who fetches what
    file/               where the file is and what is in it; threads, and connections that are opened on them

No file, lock or statement is waited for in the loop. Imports point down this list. The room may import the contract of
stores, `backends.wrap` for the two at the top, and `entries` for what stands in a row.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLitePickleCache
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache
from aiohttp_cache_di.backends.sqlite.options import DEFAULT_MAX_BYTES, DEFAULT_NEAR_BYTES

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]
