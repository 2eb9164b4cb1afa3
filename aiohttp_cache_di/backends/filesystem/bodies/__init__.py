"""Bodies that are never in memory as a whole: written while they arrive, and read in pieces.

`reading` has them in their files: opened, checked, placed beside their entries and closed; `spool` those that are on
their way there. May import `records`, `places` and the pool.
"""
