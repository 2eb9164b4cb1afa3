"""What runs in the reader's thread.

`looks` batches look-ups, and leases for keys that are not found, into one job; `reading` is that job. `waits` waits for
what another process fetches, and `walk` reads all records, a page at a time. May import `connections`, `writing`,
`shared` and `file`.
"""
