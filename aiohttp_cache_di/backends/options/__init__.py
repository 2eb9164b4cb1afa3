"""The options of backends and storages.

`typed` declares them for type checkers and editors, and `values` refuses invalid values. `revision` notices each change
of a setting, and raises a number by which others see that what they have derived from the settings is outdated. May
import policy, entries and what is below them; `configured` turns options into settings.
"""
