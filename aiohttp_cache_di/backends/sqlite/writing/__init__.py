"""Transactions, in the writer's thread: `writes` are committed in groups and run `statements` on many rows.

`room` keeps room on the disk for deletions, `softening` makes responses stale without rewriting them, and
`lease_table` has the leases where these are not locks. May import `file` and `shared`.
"""
