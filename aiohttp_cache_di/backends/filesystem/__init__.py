"""Storage in files, for any number of processes, on one machine or on a file system that several share.

::

    cache/3/f/3f19…c2                    an entry: head, key, frame; the name is a digest of the key
    cache/a/0/a07b…00000000              the record of a purge; its name tells it, as it is no entry and deleted last
    cache/3/f/3f19…c2.8be1d7f00a91c2d4   its body, if that has 64 KiB or more
    cache/3/f/3f19…c2.….tmp              an entry that is being written
    cache/3/f/3f19…c2.lease              a lease, on file systems without locks
    cache/leases                         leases: a lock on a byte of it, and the time at which the lease ends
    cache/secret                         the secret for digests of credentials, unless the user gives a key

The layers, from the event loop to the threads; imports point down this list::

    backend    the public classes: a stack (`backends.wrap`) around one store
    store      the contract of a store: each operation is one job in a thread
    writer     writes and deletes records
    secret     the file of the cache's secret
    leases     leases as locks of the kernel, or as files
    eviction/  counts files, evicts entries, sweeps remnants; in small steps beside the writes
    looking/   puts items together from their files, and iterates over all records
    bodies/    large bodies, written while they arrive and read in pieces
    records/   the files of records: their format, how they are written, published and deleted
    places/    names of files, and the directories they are in; symbolic links are not followed
    pool       the threads, which answer in the loop that asked

**Reads** need no lock and no index. An entry's file has the key, checksums and, if the user gives keys, a signature; a
file that does not pass these checks is a miss. Each use of an entry sets the time of its file's last change, once a
minute at most, by which eviction finds the least recently used entries.

**Writes** are atomic for one record: an entry is written to a temporary file and renamed, so that readers see the old
entry or the new one. A large body gets a file with a name of its own, which is complete before the entry that refers to
it is renamed into place; the old body is unlinked after that. Batches are not atomic: each record succeeds or fails by
itself. With ``fsync``, files and names are on the disk before a record counts as written; without it a power cut may
lose or damage recent records, which are misses then.

**How processes agree.** By these renames alone; copies in memory are not kept. Leases are locks that the kernel
releases with the process, and that others may take over when their time has passed; without such locks they are files
that are created exclusively and expire. Each process counts files and evicts by itself, directory by directory, so
``max_bytes`` and ``max_entries`` are kept approximately. What a process leaves behind when it dies (temporary files,
bodies without an entry) is removed once it is five minutes old.

**What happens on a failure**::

    a file is damaged or another's         the read is a miss, and counted as unreadable
    one file cannot be written             its record fails with `StorageError`
    no file can be written                 the whole batch fails with `StorageError`
    the disk is full                       likewise; a sixteenth of the cache is evicted, once a second at most
    the directory is deleted or replaced   noticed within a second, and made anew with the next write
    a caller is cancelled                  a job that has begun goes on; a lease that it took is released
    a fork                                 the child starts without threads, locks and leases of its parent
    an end without `close`                 threads are daemons; leases that are locks end with the process

This package may import the contract of stores, `disk` and `entries`; `backend` also imports `backends.wrap`.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.filesystem.backend import DEFAULT_MAX_BYTES, FileBackend, FileCache

__all__ = ["DEFAULT_MAX_BYTES", "FileBackend", "FileCache"]
