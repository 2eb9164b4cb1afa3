"""What may be set: the options of backends and storages.

`typed` lists them as type checkers and editors see them, `values` refuses a wrong value where it is given, `near` says
what copies in memory may be. May import errors and what is below them; what is made of options is `configured`'s.
"""
