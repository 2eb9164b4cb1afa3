"""Storage in DynamoDB, shared by any number of machines.

How a call moves through the room::

    backend          what users make: a stack (`backends.wrap`) around one store
    store            what is asked of the table, as a `RowStore`
      leases         leases, alone and with a look, and what is read consistently because of them
      batches        requests of up to 25 or 100 items; what the server leaves unprocessed is asked for again
    client           aiobotocore's client for each event loop, and the table, made when it is missing
      items          records as items of the table, names and conditions: pure functions
    typed            the driver's options, for type checkers

Imports point down this list. What is done with rows as in any such database is written in `backends.rows`. The room may
import that, the contract and `backends.wrap`; aiobotocore is imported when a client is made. Callers' patience,
retries after an outage and copies in memory are the stack's.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache

__all__ = ["DynamoDBBackend", "DynamoDbCache"]
