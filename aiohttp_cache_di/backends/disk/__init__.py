"""Shared by stores on a disk: private files, and locks on them.

`owned` checks which files are trusted, and creates files that no other user of the machine can touch; `descriptors` are
open files. `byte_locks` are kernel locks on single bytes of a file, and `leases` are leases made of such locks. May
import `forks` and errors only.
"""
