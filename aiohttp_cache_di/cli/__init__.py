"""Commands for people who run a service.

Each command is a thin consumer of the package: it parses arguments, asks another room, and prints. It may import all
that stands below it; nothing imports it but ``python -m aiohttp_cache_di``. How its parts move together:

- ``main`` is where errors become messages and exit codes; ``parsing`` has the arguments, and ``expecting`` refuses what
  cannot be meant before any store is looked at. ``running`` opens the cache that the settings describe.
- ``looking`` has the commands that change nothing, ``changing`` those that do, and ``copying`` copies from one cache to
  another. ``taking_over`` reads a SQLite file of aiohttp-client-cache (``older_files``), whose responses ``adopting``
  makes ours.
- ``tables`` makes text of rows, and ``drawing`` has rich draw it where that is installed.
"""
