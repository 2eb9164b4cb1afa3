"""Bodies that are never in memory as a whole: written while they arrive, and read in pieces.

`spool` writes the file of a body while it arrives. `reading` opens, checks, reads and closes such files, and places
them beside their entries. May import `records`, `places` and the pool.
"""
