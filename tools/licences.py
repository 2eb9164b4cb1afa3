"""The licences of what an install of this package brings along, all extras included, as a table: `make licences`.

What is none of ALLOWED is an error: to take such a dependency is a decision for its users, not one that slips in.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS: Final = "aiohttp-cache-di"

# Each asks no more than that its notice is kept.
ALLOWED: Final = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0"})

# How packages without a License-Expression (PEP 639) write the same.
_WRITTEN: Final = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "python software foundation license": "PSF-2.0",
}


def brought_along(name: str = OURS, extras: frozenset[str] = frozenset({"all"})) -> dict[str, Distribution]:
    """Each distribution that *name* with *extras* needs here, itself left out, by its canonical name.

    What a marker rules out, or is not installed, is not among them.
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
    """What *one* says of its licence: its expression, else classifiers or the old field, in SPDX words if known."""
    told = one.metadata
    for expression in told.get_all("License-Expression", []):
        return str(expression)
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    said = classified or told.get_all("License", ["unknown"])
    return " AND ".join(_WRITTEN.get(name.strip().lower(), name.strip()) for name in said)


def is_allowed(licence: str) -> bool:
    """Whether all parts of an SPDX expression are allowed; of an OR, one part is enough."""
    if " OR " in licence:
        return any(is_allowed(part.strip(" ()")) for part in licence.split(" OR "))
    return all(part.strip(" ()") in ALLOWED for part in licence.split(" AND "))


def main() -> int:
    """Print the table; return 1 and name them if there are licences that are not allowed."""
    table = [(one.metadata["Name"], one.version, licence_of(one)) for one in brought_along().values()]
    for name, version, licence in table:
        sys.stdout.write(f"| {name} | {version} | {licence} |\n")
    refused = [f"{name} ({licence})" for name, _, licence in table if not is_allowed(licence)]
    if refused:
        sys.stderr.write(f"licences: not among those that are allowed: {', '.join(refused)}\n")
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
