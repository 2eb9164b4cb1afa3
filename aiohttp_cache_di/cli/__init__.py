"""Commands for people who run a service.

Each command is a thin consumer of the package: it parses arguments, asks another room, and prints. It may import all
that stands below it; nothing imports it but ``python -m aiohttp_cache_di``. ``main`` has the parser and is where errors
become messages and exit codes; a command with a task of its own gets a module of its own here.
"""
