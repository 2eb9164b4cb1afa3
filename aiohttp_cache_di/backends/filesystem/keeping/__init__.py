"""Keeping a cache of files within its bounds.

`keeper` counts files, evicts entries and removes remnants, in steps in a thread; `tidying` schedules these steps beside
the writes. May import `records`, `places` and the pool.
"""
