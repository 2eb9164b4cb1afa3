"""Storage in files, for any number of processes, on one machine or on a file system that several share.

::

    cache/3/f/3f19…c2                    an entry: head, key, frame; the name is the digest of the key
    cache/3/f/3f19…c2.8be1d7f00a91c2d4   its body, from 64 KiB on
    cache/3/f/3f19…c2.….tmp              an entry, or a body of more than 1 MiB, that is being written
    cache/leases                         an empty file; locks on its bytes are leases
    cache/secret                         what digests of credentials are made with, unless the user gives a key

How a call moves through the room, from the event loop to the threads and back::

    backend    what users make: a stack (`backends.wrap`) around one store
    store      get many, put many …: each is one hop to a thread
    pool       the threads, and the way back into the loop that asked
    tidying    the keeper's steps, in the background
    keeper     counts what is there, evicts, removes remnants; in steps beside the writes
    walk       pages of records, and records that may go
    looking    the same in a thread, without the bodies that are in files of their own
    secret     what the cache keeps for itself
    leases     locks of the kernel, else files
    spool      bodies on their way into files, written while they arrive
    bodies     bodies that are read in pieces: opened, placed and closed
    body       one of them: read in pieces, each of which is checked
    lingering  their files, which stay open for a moment
    files      one record's files: read, published, dropped
    uses       what this process remembers of files
    tree       the directories, open; no symbolic link is followed
    directory  one of them, and what is done to the files in it: what is the system's own
    records    the bytes in the files
    names      what they are called

No file tells what is in others, and what is read is right without a lock: a file is moved to its place when it is
whole, what it holds proves itself, and what does not is a miss. Imports point down this list.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.filesystem.backend import DEFAULT_MAX_BYTES, FileBackend, FileCache

__all__ = ["DEFAULT_MAX_BYTES", "FileBackend", "FileCache"]
