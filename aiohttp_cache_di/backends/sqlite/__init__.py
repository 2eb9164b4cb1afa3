"""Storage in a SQLite file: the embedded default, shared by all processes of one machine.

How a call moves through the room, from the event loop to the threads and back::

    cache, backend      what users make: a stack (`backends.wrap`) around one store
    options             what they take, and the database that it describes
    store               get many, put many …: each is a job for a thread, or a write for the queue
    database            the connections of the running loop; new ones when they were lost
    looks, waits        looks that bring a lease, many in one job; waiting for what another process fetches
    connections         a reader and a writer, opened, watched, given up and closed; checks of the counters
      failing           what an error says of the file and of the connections
      reading           look-ups, and leases where nothing is found, in the reader's thread
      writes            group commits, in the writer's thread: rows, deletions, evictions (`eviction`)
    leases              locks on bytes of a file that say who fetches what; a table where there are none
      softening         marks of rows that a purge has made stale
      statements, walk  what is done in a transaction, or for a page of a walk
      thread            aiosqlite's thread, which runs whole jobs and answers by callback
    generation          whether a copy in memory is still what is stored: one comparison with
      counters          a file of counters that all processes have mapped
    opening, inspection how a connection is set up; whether the file has what we have put there
    schema, files       tables, triggers and statements; where the file is, and what is done with a damaged one

No file, lock or statement is waited for in the loop. Imports point down this list. The room may import the contract of
stores, `backends.wrap` for the two at the top, `entries` for what stands in a row, and aiosqlite in ``thread`` alone.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLitePickleCache
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache
from aiohttp_cache_di.backends.sqlite.options import DEFAULT_MAX_BYTES, DEFAULT_NEAR_BYTES

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]
