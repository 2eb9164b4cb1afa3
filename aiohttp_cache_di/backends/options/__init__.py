"""What may be set: the options of backends and storages.

`typed` lists them as type checkers and editors see them, `values` refuses a wrong value where it is given, and `near`
says what copies in memory may be. `naming` has the options that say whom requests are for. `revision` notices each
change of a setting, and raises the number by which others see that what they remember is outdated. May import policy,
entries and what is below them; what is made of options is `configured`'s.
"""
