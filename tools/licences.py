"""Print a table of the licences of all dependencies, of the extras as well: `make licences`.

A licence that is not in ALLOWED is an error, so that such a dependency is not added without a decision.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS: Final = "aiohttp-cache-di"

# They require little more than that the notice is kept.
ALLOWED: Final = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0"})

# The spellings of packages without a License-Expression (PEP 639), and their SPDX identifiers.
_WRITTEN: Final = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
}


def brought_along(name: str = OURS, extras: frozenset[str] = frozenset({"all"})) -> dict[str, Distribution]:
    """All direct and indirect dependencies of *name* with *extras*, by canonical name; *name* itself is left out.

    Dependencies that a marker excludes on this machine, or that are not installed, are left out as well.
    """
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = [(name, extra) for extra in {"", *extras}]
    while waiting:
        wanted = waiting.pop()
        if wanted in asked:
            continue
        asked.add(wanted)
        try:
            one = distribution(wanted[0])
        except PackageNotFoundError:
            continue
        found[canonicalize_name(wanted[0])] = one
        for line in one.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted[1]}):
                waiting += [(requirement.name, extra) for extra in {"", *requirement.extras}]
    found.pop(canonicalize_name(name), None)
    return dict(sorted(found.items()))


def licence_of(one: Distribution) -> str:
    """The licence of *one*: its License-Expression, or else its classifiers or License field, as SPDX if known."""
    told = one.metadata
    for expression in told.get_all("License-Expression", []):
        return str(expression)
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    said = classified or told.get_all("License", ["unknown"])
    return " AND ".join(_WRITTEN.get(name.strip().lower(), name.strip()) for name in said)


def is_allowed(licence: str) -> bool:
    """Whether an SPDX expression is allowed: all parts of an AND, or at least one part of an OR."""
    if " OR " in licence:
        return any(is_allowed(part.strip(" ()")) for part in licence.split(" OR "))
    return all(part.strip(" ()") in ALLOWED for part in licence.split(" AND "))


def main() -> int:
    """Print the table; if there are licences that are not allowed, name them and return 1."""
    table = [(one.metadata["Name"], one.version, licence_of(one)) for one in brought_along().values()]
    for name, version, licence in table:
        sys.stdout.write(f"| {name} | {version} | {licence} |\n")
    refused = [f"{name} ({licence})" for name, _, licence in table if not is_allowed(licence)]
    if refused:
        sys.stderr.write(f"licences: not among those that are allowed: {', '.join(refused)}\n")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
