"""What runs in the reader's thread.

`reading` has the jobs that look keys up and take leases; `lease_queue` lets requests for leases share a job. `waits`
waits for what another process fetches, and `walk` reads all records, a page at a time. May import `connections`,
`writing`, `shared` and `file`.
"""
