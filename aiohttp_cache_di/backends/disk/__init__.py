"""What stores on a disk share: files that are ours alone, and locks on them.

`owned` tells which files are believed and makes those that no other user of the machine can touch; `byte_locks` are
locks of the kernel on single bytes, and `leases` what is made of them. May import errors only.
"""
