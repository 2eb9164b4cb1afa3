"""What keeps a cache of files within its bounds.

`evictor` counts files, evicts entries and sweeps remnants, in steps in a thread; `schedule` runs these steps beside the
writes. May import `records`, `places` and the pool.
"""
