"""What is done in transactions, in the writer's thread: `writes` go into group commits, of `statements` on many rows.

`softening` makes responses stale where they are, and the `lease_table` has leases where there are no locks. May import
`file` and `shared`.
"""
