"""The command line: one sub-command per question that an operator has."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, cast

from aiohttp_cache_di.cli.changing import confirmed, prune, purge, urls_of, warm
from aiohttp_cache_di.cli.copying import copy, target_of
from aiohttp_cache_di.cli.expecting import expect_usable
from aiohttp_cache_di.cli.looking import check, explain, ls, show, stats
from aiohttp_cache_di.cli.parsing import parser
from aiohttp_cache_di.cli.running import DONE, FAILED, INTERRUPTED, REFUSED, Access, Cache, Command, run
from aiohttp_cache_di.cli.taking_over import take_over
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.consistency import passed_over, refuse_contradictions
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.report import EffectiveSetting, effective_settings, variables_table
from aiohttp_cache_di.settings.variables import DEFAULT_SOURCE

__all__ = ["main"]

_READING: Final = Access()
_CHANGING: Final = Access(may_change=True)
_FILLING: Final = Access(may_create=True, may_change=True)
COMMANDS: Final[dict[str, tuple[Callable[[argparse.Namespace, Cache], Awaitable[int]], Access]]] = {
    "check": (check, Access(may_create=True, may_change=True, needs_store=False, tests_store=True)),
    "explain": (explain, Access(needs_store=False)),  # it explains what happens without the store, too
    "ls": (ls, _READING),
    "prune": (prune, _CHANGING),
    "purge": (purge, _CHANGING),
    "show": (show, _READING),
    "stats": (stats, _READING),
}
"""The commands that take nothing but their arguments and the cache, and what they need of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    output: object = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # A stored URL may have characters that the terminal's encoding lacks.
        cast("io.TextIOWrapper", output).reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(parser().parse_args(arguments))
        print(end="", flush=True)  # here, where a failure can be caught, rather than at exit
    except BrokenPipeError:
        _drop_output()  # the reader, such as head, has closed the pipe
        return DONE
    except OSError as exc:
        _drop_output()
        print(f"aiohttp-cache: the output cannot be written: {exc.strerror}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:  # while a file or the user's answer is read, before an event loop runs
        print("\naiohttp-cache: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _drop_output() -> None:
    """Discard what is still buffered, so that flushing it at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(given: argparse.Namespace) -> int:
    """Run the command that *given* names."""
    if given.command == "settings":
        return _settings(given)
    try:
        found = _command(given)
    except ConfigurationError as exc:
        print(f"aiohttp-cache: {exc}", file=sys.stderr)
        return REFUSED
    if found is None:
        print("nothing is dropped")
        return DONE
    command, access = found
    return run(command, access, prefix=given.prefix, env_file=given.env_file, as_json=given.json)


def _command(given: argparse.Namespace) -> tuple[Command, Access] | None:
    """The command with its arguments, and what it needs of the cache; None if the user does not confirm it.

    Raises:
        ConfigurationError: the arguments make no sense, whatever the store contains.
    """
    expect_usable(given)
    if given.command == "warm":
        return partial(warm, given, urls=urls_of(given)), _FILLING
    if given.command == "copy" and given.older is not None:
        return partial(take_over, given), _FILLING
    if given.command == "copy":
        return partial(copy, given, settings=target_of(given)), _READING  # of the source; the target is written to
    function, access = COMMANDS[given.command]
    if given.command == "purge":
        if not confirmed(given, f"the cache of {given.prefix}"):
            return None
        access = _READING if given.dry_run else access
    return partial(function, given), access


def _settings(given: argparse.Namespace) -> int:
    if given.markdown:
        print(variables_table(), end="")
        return DONE
    try:
        settings = CacheSettings.load(given.prefix, given.env_file)
        refuse_contradictions(settings)
        rows = list(effective_settings(settings))
        place = settings.place
        unused = passed_over(settings)
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return REFUSED
    if unused is not None:
        print(f"warning: {unused}", file=sys.stderr)
    if place is not None and place.warning is not None:
        print(f"warning: {place.warning}", file=sys.stderr)
    if given.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        shown = [row for row in rows if not (given.changed and row.source == DEFAULT_SOURCE)]
        if not shown:
            print("all settings have their defaults")
            return DONE
        print("\n".join(_lines([EffectiveSetting("VARIABLE", "VALUE", "FROM"), *shown])))
    return DONE


def _lines(rows: Sequence[EffectiveSetting]) -> list[str]:
    variable_width = max(len(row.variable) for row in rows)
    value_width = min(max(len(row.value) for row in rows), 60)
    return [f"{row.variable:{variable_width}}  {row.value:{value_width}}  {row.source}" for row in rows]
