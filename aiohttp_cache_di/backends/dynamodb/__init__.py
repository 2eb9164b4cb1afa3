"""Storage in DynamoDB, shared by any number of machines.

The modules; imports point down this list::

    backend          the public classes: a stack (`backends.wrap`) around one store
    store            the operations on the table, as a `RowStore` (`backends.rows`)
      leases         the operations on leases, and which keys are read consistently because of them
      batches        requests of up to 25 or 100 items, repeated for items that the server leaves unprocessed
    client           aiobotocore's client for each event loop; makes the table if it is missing
      items          records and leases as items, their names and conditions: pure functions
    typed            the driver's options, for type checkers

**Items.** Each key has one item in the table, with its record and its lease (`items`); several caches may share a table
by namespaces. Entries that exceed the limit of an item (400 KB) are split by the stack (`wrap.chunks`). DynamoDB
deletes expired items some time later, if the table's expiry is switched on; until then reads ignore them.

**Reads and writes.** Reads are eventually consistent, which costs half, except with ``consistent_reads`` and for keys
that this process has deleted or asked a lease for in the last seconds. Each item is written atomically; a batch is
not: requests of 25 items succeed or fail by themselves.

**How processes agree.** Leases are taken, renewed and released by conditional updates, and timed by the clocks of the
processes, since DynamoDB has no clock to ask. A look-up and the lease on a miss are one conditional UpdateItem, which
costs as much as a write even if it finds a record. Writing a record ends any lease on its key, since batches cannot
have conditions. Changes by other processes are not reported: the lifetime of copies in memory bounds their age.

**What happens on a failure**::

    the service cannot be reached       the call fails; the stack decides when to try again
    items are left unprocessed          asked for again, with growing pauses; `StorageError` after eight tries in vain
    the table does not exist            with ``create_if_not_exists`` it is made and the call repeated; else it fails
    creating or describing is denied    logged; the table is used as it is
    a look-up with a lease is refused   the key is looked up without; for a minute, look-ups do not take leases
    a caller is cancelled               if it asked for a lease, that is released when granted

This package may import `backends.rows`, the contract of stores and `backends.wrap`; aiobotocore is imported when this
package is, if it is installed.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache

__all__ = ["DynamoDBBackend", "DynamoDbCache"]
