"""Records and leases on a server: their names, the commands for them, and the interpretation of replies.

`names` has the names of records and leases, and `commands` the commands for records. `reading` reads values, and none
that is larger than the cache allows. `leases` takes and releases leases, by scripts where the server allows them.
`tracking` receives the server's invalidations of keys that were read, for the copies in memory. May import
`connections` and `servers`.
"""
