"""Storage in MongoDB, shared by any number of machines.

The modules; imports point down this list::

    backend          the public classes: a stack (`backends.wrap`) around one store
    store            the operations on a collection, as a `RowStore` (`backends.rows`)
      leases         the operations on leases, one of which also looks the key up
      expiry         the TTL index, by which the server deletes expired documents
      documents      records as documents: pure functions
      stream         the change stream that invalidates copies in memory
    client           pymongo's client for each event loop, made from one set of options
      clock          the time of the server's clock
    typed            the driver's options, for type checkers

**Documents.** Each key has one document in the collection, with its record and its lease (`documents`). Entries that
exceed the limit of a document are split by the stack (`wrap.chunks`). The server deletes expired documents once a
minute; until then reads ignore them.

**Writes** of a batch are one unordered ``bulk_write``: each document is written atomically and fails by itself, and a
record counts as stored when the server has acknowledged it, by the write concern of the user.

**How processes agree.** Leases are taken, renewed and released by conditional updates, and end by the server's clock.
On a miss, inserting a document with the lease is also the look-up: it fails if the key has a document, which is then
read. A record that is written with a lease releases it in the same update. On a replica set a change stream invalidates
copies in memory; otherwise their lifetime bounds their age.

**What happens on a failure**::

    the server is gone                   the call fails; the stack decides when to try again
    a primary goes during a lease call   the document is read from the new one, to learn whether the lease was granted
    a lease has ended before the write   the record is written all the same
    a look-up with a lease is refused    for a minute, look-ups do not take leases
    no TTL index can be made             logged; expired documents stay until `delete_expired`
    the collection is dropped            made by the next write; the index is made again within a minute
    the change stream is lost            all copies are dropped, and it is opened again after a pause
    a caller is cancelled                it returns at once; if it asked for a lease, that is released when granted

This package may import `backends.rows`, the contract of stores and `backends.wrap`. It imports pymongo, if that is
installed, so it is imported only for users of MongoDB.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache

__all__ = ["MongoDBBackend", "MongoDBCache"]
