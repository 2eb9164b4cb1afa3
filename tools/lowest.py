"""Print a pip constraints file that pins every direct dependency to the lowest version that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?\s*>=\s*(?P<version>[0-9][0-9.]*)")


def lowest_versions(pyproject: str) -> dict[str, str]:
    """The lower bound of each runtime dependency and each extra, by distribution name.

    Args:
        pyproject: the text of a pyproject.toml.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {})
    requirements = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    versions: dict[str, str] = {}
    for requirement in requirements:
        if requirement.startswith(project["name"]):
            continue  # an extra made of other extras
        match = _REQUIREMENT.match(requirement)
        if match is None:
            raise ValueError(f"{requirement!r} has no lower bound: write name>=version")
        versions[match["name"]] = match["version"]
    return versions


if __name__ == "__main__":
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    for name, version in lowest_versions(text).items():
        print(f"{name}=={version}")
