"""Storage in Redis or Valkey (one server, a cluster, or servers behind sentinels), shared by any number of machines.

What is here knows how records are kept on such a server, and nothing of requests or callers' patience: that is around
it (`backends.wrap`). redis-py brings the address, the options and open, authenticated connections; hiredis parses; all
that is taken of the two beyond their documented use is in `aiohttp_cache_di._redis`. How the parts move together:

- `backend` has the two names that users know, and puts the others together from their options (`options`;
  the driver's, for type checkers, are in `typed`); `clients`
  makes of an address or of a client of redis-py's the topology that a store has.
- `store` says what is sent for each operation of the contract (`backends.store`), and what is made of the replies;
  `scripts` does so for leases. `names` says what records and leases are called, and `reading` that no value is read
  which is larger than what is kept.
- A store asks its `topology` for the connection to the server that has a name, and has a batch parted by connection:
  there is one server, or redis-py tells which ones a `cluster` has. Each server has an endpoint (`endpoints`), which
  keeps one connection for each event loop, opens it when it is first needed, and another when that one is lost.
  `ways` say how: by an address, or by asking sentinels each time.
- A command that was sent to the wrong server of a cluster goes on to the right one, unseen by those who wait for it.
- A connection (`connections`) is shared by all tasks of its loop: what a tick of the loop brings leaves together, and
  replies come back in order. `wire` turns commands into bytes and bytes into replies. Where redis-py's stream cannot be
  taken over, `driven` does the same through its public methods.
- `tracking` has the server tell of keys that were read and have changed, for the copies in memory.
"""

from __future__ import annotations

from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache

__all__ = ["RedisBackend", "RedisCache"]
