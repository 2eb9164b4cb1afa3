"""What every store gets, written once and wrapped around it.

Modules here know the contract of a store (`backends.store`) and the API of an item face (`backends.storage`), and no
store. A stack has one part in each event loop that uses it; nothing that belongs to a loop is shared between loops.

::

    engine                     users
      │ peek, fetch, store       │ read, write, delete, keys …
      ▼                          ▼
    loop.LoopStack            items.StackCache          one per loop                 one per face
      │                          │
      ├─ writing/ ◄──────────────┤  pending: writes on their way, read from here, tried until they are written
      │                          │  tombstones: keys whose deletion failed: nothing under them is used
      ├─ near                    │  copies in memory, believed while the store vouches for them
      ├─ looking/ ◄──────────────┤  batching: concurrent reads go together; leases: one process fetches
      │                          │  first_looks: what is not likely to be there is looked for and leased at once
      ├─ guarding/                  what a caller waits for ends in time; a dead store is left alone
      │    chunks                   large items in pieces, where the store has a limit
      └──► Store                    memory, SQLite, Redis, or `foreign`: two storages of a user's own

Beside them: `abilities` looks once for what a store can do besides; `packing` makes items of entries, with a user's own
serializer if there is one; `purges` is what each loop knows of purges by tag, and `marks` the records that tell of
them; `upkeep` is what operators ask of a stack: what is in
the store, how much that is, and to have some of it gone; `ping` tries a store before a request needs it; `secret` makes
digests with a secret that the store keeps; `tasks` are those that no caller waits for, and `alarms` timers that hardly
ever ring.

**A hit** from memory: `peek` finds the entry among the pending writes, or, unless a tombstone forbids it, at hand: in a
store that answers at once, or in the near tier, whose copy is good while ``store.version(key)`` has not grown, or while
no change was heard. One call, no await, no guard.

**A hit** from the store: `peek` has nothing; `fetch` takes a token from the near tier and asks `batching`. A lone read
goes to the store at once; those that come meanwhile make the next batch. Each goes through the guard, so that its
deadline begins when it is sent; who waits for a turn does so while the store answers others.
The item comes back decoded; a copy stays in the near tier if the token still holds, that is, if nothing was heard of
the key meanwhile. What cannot be read is counted and is a miss.

**A miss** is a `fetch` that brings nothing. The lease may have come with it, if the engine asked for that and the key
was not known to be stored (`first_looks`); it is given back when the request comes to an end without using it. Else the
engine may then ask `leases` to be the one process that fetches; while another holds the lease it looks again now and
then. When the body is whole, `store` puts the entry among the pending writes, from where it is read at once; a batch
takes it to the store, the lease goes back with it, and the outcome is told to those who asked to hear it. A try that
fails is repeated after a rest, in the rhythm of the circuit where the store is down, until it succeeds or the memory
set aside for pending writes is needed; then the oldest that failed goes first. `close` tries for a second more, and
counts what it has to drop.

**A validation** ends in a `store` of the freshened entry, as a miss does. **A deletion** (`StoreStack.delete`, `clear`)
first tells every loop: fetches under way must not store what they get, pending writes are dropped, copies and the
tokens of reads under way are void. It waits a moment for puts under way, deletes, and has a put that outlives it
deleted again when it ends. A deletion that fails within a request leaves a tombstone.
"""
