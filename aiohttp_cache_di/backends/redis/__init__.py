"""Storage in Redis or Valkey (one server, a cluster, or servers behind sentinels), shared by any number of machines.

redis-py reads the address and the options, opens and authenticates connections, and finds the servers of a cluster;
hiredis parses replies. All that is used of the two beyond their documented API is in `aiohttp_cache_di._redis`. The
layers; imports point down this list::

    backend       the public classes: a stack (`backends.wrap`) around one store; their options (`typed`)
    clients       makes the topology of a store from an address or a client of redis-py
    store         the commands for each operation of the contract (`backends.store`), and what its replies mean
    records/      names, commands, values of a bounded size, leases, and invalidations
    servers/      which server has a name, and the connection to it in each event loop
    connections/  one open connection that any number of tasks share

**Keys** on the server, different for each cache (`records.names`); in a cluster, ``<key>`` is a hash tag::

    <namespace>:<collection>:<key>          a record: the encoded entry, with an expiry
    <namespace>:<collection>-lease:<key>    a lease: the random token of its owner, with an expiry
    <namespace>:<collection>-secret:        the secret for digests of credentials

**Reads and writes.** All tasks of an event loop share one connection to each server. Their commands are pipelined, and
replies are matched by their order. Each command is atomic on the server, a batch is not: each record succeeds or fails
by itself. A record counts as stored when the server has replied; whether it survives a crash or a failover is the
server's configuration. The server drops expired records and, by its ``maxmemory`` policy, others.

**How processes agree.** Leases are taken by ``SET NX``, and released or renewed by scripts that compare the token, so
that a lease that has passed to another process is left alone. A look-up and the lease on a miss are one script. For
copies in memory the server sends an invalidation when a key that was read changes (client-side caching).

**What happens on a failure**::

    the connection is lost             all waiting commands fail with `StorageError`; the next one opens another
    no reply for ``socket_timeout``    likewise, with `StorageTimeoutError`
    the server refuses a command       that command fails; NOAUTH and READONLY also call for a new connection
    a reply is too large               the connection is ended; for a minute, values are read by GETRANGE, and those
                                       that are too large are unreadable (`records.reading`)
    scripts are forbidden              plain commands do the same, with one more round trip for a miss
    a caller is cancelled              its reply is ignored; a lease that it may get is released
    a cluster moves a slot             commands are sent on to the new server, and the map is read again
    a server of a cluster is gone      its keys fail, others do not (`PartlyReadError`); the map is read again
    an invalidation may be missed      all copies are dropped when the tracking connection is lost
    a fork                             the child leaves the parent's connections alone and opens its own
"""

from __future__ import annotations

from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache

__all__ = ["RedisBackend", "RedisCache"]
