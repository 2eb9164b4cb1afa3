"""Eviction without an index: what keeps a cache of files within its bounds.

`counting` counts files, one leaf directory after the other, and sweeps remnants from them. `evictor` decides when a
bound is exceeded, and which records go; it works in short steps, which `schedule` runs in a thread beside the writes.
May import `records`, `places` and the pool.
"""
