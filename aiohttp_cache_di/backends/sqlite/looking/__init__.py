"""What is asked of the reader's thread: `looks` for keys, and for leases where nothing is found, many in one job.

`reading` answers them, `waits` are for what another process fetches, and a `walk` sees all records a page at a time.
May import the rooms below and `connections`.
"""
