"""Records and leases as a server has them: their names, the commands about them, and what is made of the replies.

`names` says what records and leases are called, and `commands` what is asked about records. `reading` reads values, and
sees to it that none is read which is larger than what is kept; `leases` do what one process at a time may do, by
scripts where the server runs them; `tracking` has the server tell of keys that were read and have changed, for the
copies in memory. May import `connections` and `servers`.
"""
