"""What processes share beside the database, in mapped memory and as locks, so that reading it needs no statement.

`generation` validates a copy in memory by one comparison with `counters`, in a file that all processes map; `leases`
are locks on bytes of a file. Both files are `beside` the database. May import `disk` and `file`.
"""
