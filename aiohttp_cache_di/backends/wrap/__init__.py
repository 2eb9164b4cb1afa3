"""The stack: what every store gets around it, written once.

Modules here know the contract of a store (`backends.store`) and the storage API (`backends.storage`), and no particular
store. A stack has one part for each event loop that uses it; loops share no futures, tasks or timers.

::

    engine                     users
      │ peek, fetch, store       │ read, write, delete, keys …
      ▼                          ▼
    loop.LoopStack            items.StackCache          one per loop                 one per storage
      │                          │
      ├─ writing/ ◄──────────────┤  pending: writes not yet in the store; read from here, retried until written
      │                          │  tombstones: keys whose deletion failed; what is stored under them is not used
      ├─ near                    │  the near tier: copies in memory, used while the store says that they are current
      ├─ looking/ ◄──────────────┤  batching: concurrent reads share a call; leases: one process fetches a key
      │                          │  first_looks: look-up and lease in one call, when a miss is likely
      ├─ guarding/                  a deadline for each operation, and a circuit breaker for a store that fails
      │    chunks                   splits large items, if the store limits their size
      └──► Store                    memory, SQLite, Redis …, or `foreign`: two storages of a user's own

Beside them:

- `stack` holds the store, the parts of all loops and what they share;
- `making` makes a store and its stack from the options of a backend or a storage;
- `packing` turns entries into items and back, with the user's serializer if there is one;
- `purges` is what each loop knows of purges by tag, and `marks` are the records of purges;
- `upkeep` serves operators: lists entries, measures the store, deletes expired entries;
- `deletions` tells whether an entry was deleted while a request was under way;
- `ping` tests a store before a request needs it, and `recovery` does so after a failure, until the store works again;
- `secret` is the secret of the digests in keys, which the store keeps;
- `alarms` are many timers that are usually cancelled.

**A hit from memory.** `peek` is one call without await or guard. It finds the entry among the pending writes, or else,
unless the key has a tombstone, in a store in memory or in the near tier. A copy in the near tier is current while
``store.version(key)`` is not greater than its version, or while no change of the key has been reported.

**A hit from the store.** `peek` finds nothing, so `fetch` begins a read in the near tier (which hands out a token) and
asks `batching`. A read is sent at once while fewer calls than the store allows are under way, and none of them is a
large batch; the others form the next batch, unless the near tier can answer them by then: after a pause the copies are
not known to be current, until the first read has checked that. Each call passes the guard, and its deadline begins when
it is sent: a read may queue for as long as the store answers others. The store returns the item decoded. The near tier
keeps a copy if the token is still valid, that is, if no change of the key was reported during the read. An item that
cannot be read is counted, and is a miss.

**A miss.** `fetch` returns nothing. The lease may already be granted, if the engine asked for it and the key was
unlikely to be stored (`first_looks`); if the request ends without using it, it is released. Otherwise the engine may
ask `leases` to be the one process that fetches the key; while another process holds the lease, it looks up and asks
again at intervals. When the body is complete, `store` adds the entry to the pending writes, from where it can be read
at once. A batch puts it into the store; the same call releases the lease, and callbacks learn the outcome. After a
failure the write rests and is tried again (while the circuit is open, when the circuit allows it), until it succeeds
or its memory is needed for newer writes; the oldest failed write is dropped first. `close` keeps trying for one more
second, and counts the writes that it drops.

**A validation** ends in a `store` of the refreshed entry, like a miss.

**A deletion** (`StoreStack.delete`, `clear`) first tells every loop: requests under way for the keys may not store
their responses, pending writes are dropped, copies and the tokens of reads under way become invalid. Then it waits
briefly for puts under way, and deletes. If a put takes longer, its key is deleted again when it ends. A key gets a
tombstone if that deletion fails, or one that a request has caused.
"""
