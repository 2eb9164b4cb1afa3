"""Where files are, and how they are reached: all that is asked of the system goes through here.

`names` are what files are called, `directory` is one that is open, with what is done to the files in it, and `tree` has
all of a cache, opened once and never through a link. May import `disk`, `loops` and the package's errors.
"""
