"""The command ``aiohttp-cache``, for people who run a service.

Each command is a thin layer: it parses arguments, calls other rooms, and prints. It may import everything below it, and
only ``python -m aiohttp_cache_di`` imports it. Its parts:

- ``main`` runs the command that was given, and turns errors into messages and exit codes. ``parsing`` defines the
  arguments, ``expecting`` checks them before any store is opened, and ``running`` opens the cache that the settings
  describe.
- ``looking`` has the commands that change nothing, ``changing`` those that do, and ``copying`` copies from one cache
  to another. ``ordering`` sorts any number of entries in bounded memory. ``taking_over`` imports the SQLite file of an
  aiohttp-client-cache: ``older_files`` reads it, and ``adopting`` turns its responses into entries.
- ``tables`` formats text, and ``drawing`` draws tables and progress bars with rich, where that is installed.
"""
