"""Storage in files, for any number of processes, on one machine or on a file system that several share.

::

    cache/3/f/3f19…c2                    an entry: head, key, frame; the name is the digest of the key
    cache/3/f/3f19…c2.8be1d7f00a91c2d4   its body, from 64 KiB on
    cache/3/f/3f19…c2.….tmp              an entry that is being written
    cache/leases                         times; locks on its bytes are leases
    cache/secret                         what digests of credentials are made with, unless the user gives a key

How a call moves through the room, from the event loop to the threads and back::

    backend    what users make: a stack (`backends.wrap`) around one store
    store      get many, put many …: each is one hop to a thread
    secret     what the cache keeps for itself
    leases     locks of the kernel, else files
    keeping/   counts what is there, evicts, removes remnants; in steps beside the writes
    bodies/    bodies that are written while they arrive, and read in pieces
    records/   the files of records: what is in them, how they are read, published and dropped
    places/    what files are called, and the directories that they are in; no symbolic link is followed
    pool       the threads, and the way back into the loop that asked

No file tells what is in others, and what is read is right without a lock: a file is moved to its place when it is
whole, what it holds proves itself, and what does not is a miss. Imports point down this list.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.filesystem.backend import DEFAULT_MAX_BYTES, FileBackend, FileCache

__all__ = ["DEFAULT_MAX_BYTES", "FileBackend", "FileCache"]
