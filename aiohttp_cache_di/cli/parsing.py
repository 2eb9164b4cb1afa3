"""The arguments of the command, parsed by argparse, which needs no dependency and loads in milliseconds."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final, TypeAlias

from aiohttp_cache_di import __version__
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE

__all__ = ["SORTS", "parser"]

AddParser: TypeAlias = Callable[..., argparse.ArgumentParser]

MAX_COUNT: Final = 999_999_999
_WHOLE: Final = re.compile(r"\d{1,9}", re.ASCII)
SORTS: Final = ("url", "size", "age", "expires")
STATUSES: Final = "exit status: 0 done, 1 the store cannot be used or something failed, 2 wrong arguments or settings"


def parser() -> argparse.ArgumentParser:
    """Make the parser of all arguments."""
    made = argparse.ArgumentParser(
        prog="aiohttp-cache",
        description="Look into a cache, and look after it.",
        epilog=STATUSES,
        parents=[_common(prefix=DEFAULT_PREFIX, env_file=DEFAULT_ENV_FILE)],
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(dest="command", required=True, metavar="command")
    _settings(commands.add_parser, _common())
    _add(commands.add_parser, "check", "try the store: open, read, write and lease; for containers that start first")
    _stats(_add(commands.add_parser, "stats", "how much is stored, how much of it is fresh, and of which hosts"))
    _ls(_add(commands.add_parser, "ls", "list what is stored"))
    _show(_add(commands.add_parser, "show", "show the heads of what is stored for a URL, or under a key"))
    _explain(_add(commands.add_parser, "explain", "what the cache would do with a request now, and why"))
    _purge(_add(commands.add_parser, "purge", "drop what is stored, or make it stale; running services see it at once"))
    _warm(_add(commands.add_parser, "warm", "request URLs, so that their responses are stored"))
    _copy(_add(commands.add_parser, "copy", "copy what is stored to another cache, such as from a file to a server"))
    _prune(_add(commands.add_parser, "prune", "drop what has expired, and what is too old or too much"))
    return made


def _common(**defaults: str) -> argparse.ArgumentParser:
    """The options that may stand before and after the command, where they have no default of their own."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--prefix", help=f"of the cache's variables (default: {DEFAULT_PREFIX})")
    common.add_argument("--env-file", help=f"file of variables (default: {DEFAULT_ENV_FILE})")
    common.set_defaults(**defaults)
    return common


def _add(add_parser: AddParser, name: str, what: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = add_parser(
        name, help=what, description=f"{what[:1].upper()}{what[1:]}.", epilog=STATUSES, parents=[_common()]
    )
    made.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return made


def _settings(add_parser: AddParser, common: argparse.ArgumentParser) -> None:
    settings: argparse.ArgumentParser = add_parser(
        "settings",
        help="show the settings in effect and where each came from",
        description="Show the settings in effect and where each came from; secrets are masked.",
        parents=[common],
    )
    form = settings.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print them as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table of all variables instead")
    form.add_argument("--changed", action="store_true", help="leave out what is as it is by default")


def _selectors(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what is meant; of several, an entry has to meet each")
    group.add_argument("--url", help="the responses to this URL: all methods, variants and principals")
    group.add_argument("--host", help="those of a host, with a port where the URL has one")
    group.add_argument("--match", action="append", metavar="GLOB", help="by pattern of URLs; may be repeated")
    group.add_argument("--tag", action="append", dest="tags", help="by tag; may be repeated")
    group.add_argument("--partition", metavar="ID", help="of a principal, as ls and explain show it; - for everyone")
    group.add_argument("--older-than", metavar="AGE", help="stored at least that long ago, such as 1h30m")
    group.add_argument("--larger-than", metavar="SIZE", help="with a larger body, such as 64KiB")
    group.add_argument("--expired", action="store_true", default=None, help="no longer fresh")


def _stats(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=_count, help="of the hosts (default: 10, with --json all; 0 for all)")


def _ls(command: argparse.ArgumentParser) -> None:
    _selectors(command)
    command.add_argument("--sort", choices=SORTS, default="url", help="largest, oldest or first to expire come first")
    command.add_argument("--limit", type=_count, help="how many (default: 100, with --json all; 0 for all)")


def _show(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", metavar="URL|KEY", help="a URL, or the first digits of a key")


def _explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", metavar="URL")
    command.add_argument("-X", "--method", default="GET", help="of the request (default: %(default)s)")
    command.add_argument("-H", "--header", action="append", default=[], dest="headers", metavar="NAME: VALUE")
    command.add_argument("--principal", help="whom the request is for")
    command.add_argument("--refresh", action="store_true", help="as refresh=True of the request")


def _purge(command: argparse.ArgumentParser) -> None:
    _selectors(command)
    command.add_argument("--all", action="store_true", help="everything; asks before, unless --yes")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--soft", action="store_true", help="stale rather than gone, so that it is validated")
    command.add_argument("--dry-run", action="store_true", help="only tell what would go")


def _warm(command: argparse.ArgumentParser) -> None:
    command.add_argument("urls", nargs="*", metavar="URL")
    command.add_argument("--file", metavar="FILE", help="of URLs, one a line; - for standard input")
    command.add_argument("--concurrency", type=_several, default=8, help="requests at a time (default: %(default)s)")


def _copy(command: argparse.ArgumentParser) -> None:
    way = command.add_mutually_exclusive_group(required=True)
    way.add_argument("--to-prefix", metavar="PREFIX", help="of the variables of the other cache")
    way.add_argument(
        "--from-aiohttp-client-cache",
        dest="older",
        metavar="FILE",
        help="take over the SQLite file of that library into the cache of --prefix; nothing in it is run",
    )
    _selectors(command)


def _prune(command: argparse.ArgumentParser) -> None:
    command.add_argument("--max-age", metavar="AGE", help="drop what was stored longer ago, such as 7d")
    command.add_argument("--max-size", metavar="SIZE", help="drop the oldest until all bodies take no more")


def _count(text: str, least: int = 0) -> int:
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number from {least} to {MAX_COUNT}")
    return int(text)


def _several(text: str) -> int:
    return _count(text, least=1)
