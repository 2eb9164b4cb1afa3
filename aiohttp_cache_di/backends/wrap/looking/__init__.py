"""Looking into the store: many looks at a time, and the lease for what is not there.

`batching` lets looks that come while others are under way go together, `leases` makes one process fetch what is
missing, and `first_looks` does both at once where the store can. May import `guarding`, `alarms` and `tasks`.
"""
