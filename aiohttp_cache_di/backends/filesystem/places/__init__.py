"""Where files are, and how they are reached: all system calls on paths are made here.

`names` are the names of files, `directory` is an open directory with the operations on files in it, and `tree` has all
directories of a cache, each opened once and never through a link. May import `disk`, `loops` and the package's errors.
"""
