"""The command line: one sub-command per question that an operator has."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.consistency import refuse_contradictions
from aiohttp_cache_di.settings.model import DEFAULT_PREFIX, CacheSettings
from aiohttp_cache_di.settings.report import EffectiveSetting, effective_settings, variables_table
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE

__all__ = ["main"]

EXIT_REFUSED = 2  # as argparse exits for arguments that it refuses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    given = _parser().parse_args(arguments)
    try:
        code = _settings(given)
        sys.stdout.flush()  # here, where a failure can be caught, rather than at exit
    except BrokenPipeError:
        # The reader, such as head, has seen enough. What is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aiohttp_cache_di", description="A persistent HTTP cache.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    settings = commands.add_parser(
        "settings",
        help="show the settings in effect and where each came from",
        description="Show the settings in effect and where each came from; secrets are masked.",
    )
    settings.add_argument("--prefix", default=DEFAULT_PREFIX, help="of the cache's variables (default: %(default)s)")
    settings.add_argument("--env-file", default=DEFAULT_ENV_FILE, help="file of variables (default: %(default)s)")
    form = settings.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print them as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table of all variables instead")
    form.add_argument("--changed", action="store_true", help="leave out what is as it is by default")
    return parser


def _settings(given: argparse.Namespace) -> int:
    if given.markdown:
        print(variables_table(), end="")
        return 0
    try:
        settings = CacheSettings.load(given.prefix, given.env_file)
        refuse_contradictions(settings)
        rows = list(effective_settings(settings))
        place = settings.place
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_REFUSED
    if place is not None and place.warning is not None:
        print(f"warning: {place.warning}", file=sys.stderr)
    if given.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        shown = [row for row in rows if not (given.changed and row.source == "default")]
        print("\n".join(_lines([EffectiveSetting("VARIABLE", "VALUE", "FROM"), *shown])))
    return 0


def _lines(rows: Sequence[EffectiveSetting]) -> list[str]:
    variable_width = max(len(row.variable) for row in rows)
    value_width = min(max(len(row.value) for row in rows), 60)
    return [f"{row.variable:{variable_width}}  {row.value:{value_width}}  {row.source}" for row in rows]
