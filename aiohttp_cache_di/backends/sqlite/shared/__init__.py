"""What the processes at one file share beside it, in memory and in the kernel, so that no statement is needed for it.

`generation` tells by one comparison whether a copy is still what is stored, from `counters` in a file that all have
mapped; `leases` are locks on bytes of a file, which say who fetches what. May import `file`.
"""
