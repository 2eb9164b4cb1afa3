"""Reads from the store, and leases on keys that are not stored.

`batching` combines reads that arrive while others are under way; `leases` lets one process fetch a missing key;
`first_looks` reads and leases in one call, if the store can. May import `guarding` and `alarms`.
"""
