"""Keeping a cache of files within its bounds.

`keeper` counts what is there, evicts and removes remnants, in steps in a thread; `tidying` has it take them, beside the
writes. May import `records`, `places` and the pool.
"""
