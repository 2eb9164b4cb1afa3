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
from aiohttp_cache_di.cli.running import DONE, FAILED, INTERRUPTED, REFUSED, Cache, Command, run
from aiohttp_cache_di.cli.taking_over import take_over
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.consistency import passed_over, refuse_contradictions
from aiohttp_cache_di.settings.model import CacheSettings
from aiohttp_cache_di.settings.report import EffectiveSetting, effective_settings, variables_table

__all__ = ["main"]

COMMANDS: Final[dict[str, Callable[[argparse.Namespace, Cache], Awaitable[int]]]] = {
    "check": check,
    "explain": explain,
    "ls": ls,
    "prune": prune,
    "purge": purge,
    "show": show,
    "stats": stats,
}


ONLY_READ: Final = frozenset({"explain", "ls", "show", "stats"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    output: object = sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # What is stored may be more than a terminal can show.
        cast("io.TextIOWrapper", output).reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(parser().parse_args(arguments))
        print(end="", flush=True)  # here, where a failure can be caught, rather than at exit
    except BrokenPipeError:
        _drop_output()  # The reader, such as head, has seen enough.
        return DONE
    except OSError as exc:
        _drop_output()
        print(f"aiohttp-cache: the output cannot be written: {exc.strerror}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:  # before a loop runs: while a file, or an answer, is waited for
        print("\naiohttp-cache: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _drop_output() -> None:
    """Let what is still buffered not fail at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(given: argparse.Namespace) -> int:
    """Run the command that is given."""
    if given.command == "settings":
        return _settings(given)
    try:
        command = _command(given)
    except ConfigurationError as exc:
        print(f"aiohttp-cache: {exc}", file=sys.stderr)
        return REFUSED
    if command is None:
        print("nothing is dropped")
        return DONE
    tries = given.command == "check"
    creates = tries or given.command == "warm" or getattr(given, "older", None) is not None
    reads_source = given.command == "copy" and given.older is None
    return run(
        command,
        prefix=given.prefix,
        env_file=given.env_file,
        as_json=given.json,
        creates=creates,
        tries=tries,
        needs_store=not tries and given.command != "explain",  # which tells what is done without it
        changes=given.command not in ONLY_READ and not getattr(given, "dry_run", False) and not reads_source,
    )


def _command(given: argparse.Namespace) -> Command | None:
    """What is to be done with the cache; None where the person who was asked says no.

    Raises:
        ConfigurationError: the arguments cannot be meant, whatever the store holds.
    """
    expect_usable(given)
    if given.command == "warm":
        return partial(warm, given, urls=urls_of(given))
    if given.command == "copy":
        return partial(take_over, given) if given.older is not None else partial(copy, given, settings=target_of(given))
    if given.command == "purge" and not confirmed(given, f"the cache of {given.prefix}"):
        return None
    return partial(COMMANDS[given.command], given)


def _settings(given: argparse.Namespace) -> int:
    if given.markdown:
        print(variables_table(), end="")
        return 0
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
        shown = [row for row in rows if not (given.changed and row.source == "default")]
        print("\n".join(_lines([EffectiveSetting("VARIABLE", "VALUE", "FROM"), *shown])))
    return 0


def _lines(rows: Sequence[EffectiveSetting]) -> list[str]:
    variable_width = max(len(row.variable) for row in rows)
    value_width = min(max(len(row.value) for row in rows), 60)
    return [f"{row.variable:{variable_width}}  {row.value:{value_width}}  {row.source}" for row in rows]
