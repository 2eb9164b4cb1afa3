"""Storage in a SQLite file: the embedded default, shared by all processes of one machine.

The layers, from the event loop to the threads; imports point down this list::

    cache, backend      the public classes: a stack (`backends.wrap`) around one store; their `options`
    store               the contract of a store: each operation is a job for a thread, or a write for the queue
    database            the connections of the running loop; opens new ones when they are lost
    looking/            look-ups and requests for leases, in the reader's thread; walks over all rows
    eviction            keeps the file within its bounds, in small transactions between the writes of others
    connections         a reader and a writer: opening, checking, giving up and closing them
    writing/            group commits in the writer's thread: the statements of a transaction
    shared/             what processes share in memory: counters that validate copies, locks that are leases
    file/               the file, its tables and owner; connections, each on a thread of its own

**Files.** The cache ``<name>`` is ``<name>.sqlite``, in WAL mode, with up to four files beside it::

    <name>.sqlite-wal, -shm      SQLite's write-ahead log and its index
    <name>.sqlite-generations    mapped counters: which commits have changed which keys (`shared.generation`)
    <name>.sqlite-leases         locked bytes and mapped times: which key is being fetched (`shared.leases`)
    <name>.sqlite.corrupt-N      damaged files that were set aside; the newest two are kept

**Tables.** Each cache in the file has a table of entries (key, times, frame, body; `file.schema`) and one of *cutoffs*,
which make responses stale without rewriting them (`writing.softening`). All caches in the file share a table of schema
versions and the secret, a table of leases, and the *generation*: the number of the last commit that changed an entry.

**Reads and writes.** Each event loop has two connections, a reader and a writer, each on a thread of its own; the loop
itself never waits for a file, a lock or a statement. The stack batches look-ups. Requests for leases that arrive while
others are under way share the next job. Writes that arrive while a transaction is under way share the next one (a
*group commit*). A group is atomic: all its writes return once it is committed, or all fail. Records that cannot be
encoded are left out of it, and fail alone; on a full disk, so are all records.
After a power cut the last commits may be missing; with ``fast_save`` the file may be damaged.

**How processes agree.** SQLite's write lock serialises writers. A copy in memory of an entry is valid while the mapped
counter of its key has not grown, which takes one comparison and no statement; copies are not used if the counters have
not been checked for half a second. A lease is a lock on a byte of a file, which the kernel releases when its process
dies, and which others may take over when its time has passed; where there are no such locks, it is a row that expires.

**What happens on a failure**::

    the file is locked for too long    the operation fails with `StorageError` after ``timeout``; nothing is closed
    the disk is full                   writes fail while there is still room to delete entries; reads go on
    the file cannot be written         it is opened to read only; writing is tried again after two seconds
    the file is damaged                it is renamed to ``.corrupt-N`` and a new one is begun
    the file is deleted or replaced    noticed within 0.1 s; the connections are given up and new ones opened
    a job takes too long               interrupted after ten seconds; the connections are given up
    a fork                             the child leaves the parent's connections alone and opens its own
    an end without `close`             threads are daemons; the program waits a second for what is being written

Operations on connections that are lost fail with `ConnectionsLostError`, and are repeated once on new ones.

This package may import the contract of stores, `disk` and `entries`; `cache` and `backend` also import `backends.wrap`.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLitePickleCache
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache
from aiohttp_cache_di.backends.sqlite.options import DEFAULT_MAX_BYTES, DEFAULT_NEAR_BYTES

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]
