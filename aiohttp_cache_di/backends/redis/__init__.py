"""Storage in Redis or Valkey (one server, a cluster, or servers behind sentinels), shared by any number of machines.

What is here knows how records are kept on such a server, and nothing of requests or callers' patience: that is around
it (`backends.wrap`). redis-py brings the address, the options and open, authenticated connections, and knows the
servers of a cluster; hiredis parses; all that is taken of the two beyond their documented use is in
`aiohttp_cache_di._redis`. How the parts move together:

- `backend` has the two names that users know, and puts the others together from their options (`typed`);
  `clients` makes of an address or of a client of redis-py's the topology that a store has.
- `store` says what is sent for each operation of the contract (`backends.store`), and what is made of the replies.

It stands on three rooms, each of which may import those below it::

    records/      names, commands, values of a bounded size, leases, and news of changes
    servers/      which server has a name, and the connection to it in each event loop
    connections/  one open connection that any number of tasks share
"""

from __future__ import annotations

from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache

__all__ = ["RedisBackend", "RedisCache"]
