"""Shared by stores on a disk: private files, and locks on them.

`place` is the path that a user gave. `owned` checks which files are trusted, and creates files that no other user of
the machine can touch; `descriptors` are open files. `byte_locks` are kernel locks on single bytes of a file, and
`leases` are leases made of such locks. May import `forks`, `loops` and errors only.
"""
