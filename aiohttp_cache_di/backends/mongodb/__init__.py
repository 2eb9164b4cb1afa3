"""Storage in MongoDB, shared by any number of machines.

How a call moves through the room::

    backend          what users make: a stack (`backends.wrap`) around one store
    store            get many, put many …: what is asked of a collection, and what is made of its answers
      leases         leases, alone and with a look
      expiry         the index by which the server drops what has expired
      documents      records and leases as documents, filters and updates: pure functions
      stream         a change stream for the copies in memory, where the server offers one
    client           pymongo's client for each event loop, made from one set of options
      clock          the time by the server's clock
    typed          the driver's options, for type checkers

Imports point down this list. The room may import the contract, `backends.wrap` and `backends.loops`; pymongo is
imported with the room, so nothing imports the room that does not ask for MongoDB. Callers' patience, retries after an
outage and copies in memory are the stack's.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache

__all__ = ["MongoDBBackend", "MongoDBCache"]
