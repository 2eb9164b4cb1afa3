"""Check the installed packages for known vulnerabilities, by pip-audit, which asks the package index.

A vulnerability is an error. A package that cannot be checked, because the index is unreachable or does not know it, is
only reported: this check has to work on machines without an index, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

INSTALL_WITHIN_S: Final = 60
ASK_WITHIN_S: Final = 90
INSTALL: Final = (sys.executable, "-m", "pip", "install", "-q", "--timeout", "10", "--retries", "1", "--group", "audit")
ASK: Final = (
    *(sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json"),
    *("--progress-spinner", "off", "--timeout", "10"),
)


def main() -> int:
    """Print the result; return 1 if there is a vulnerability, else 0."""
    _, why_not = _run(INSTALL, INSTALL_WITHIN_S)
    if why_not is not None:
        return _say(f"not asked: pip-audit cannot be installed: {why_not}")
    output, why_not = _run((*ASK, *sys.argv[1:]), ASK_WITHIN_S)
    try:
        lines, code = verdict(json.loads(output))
    except (ValueError, KeyError, TypeError):
        return _say(f"not asked: {why_not or 'pip-audit says nothing that can be read'}")
    for line in lines:
        _say(line)
    return code


def verdict(found: Any) -> tuple[list[str], int]:
    """The lines to print for *found*, the parsed output of pip-audit, and 1 if it has a vulnerability, else 0."""
    packages: list[Any] = found["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    vulnerable = [package for package in asked if package["vulns"]]
    lines = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
        for package in vulnerable
        for one in package["vulns"]
    ]
    if asked and not vulnerable:
        lines.append(f"no vulnerability is known of {len(asked)} packages")
    if len(asked) < len(packages):
        unknown = [package["name"] for package in packages if "skip_reason" in package]
        lines.append(f"not asked: the index knows nothing of {len(unknown)} packages, {unknown[0]} among them")
    return lines, int(bool(vulnerable))


def _run(command: tuple[str, ...], within_s: float) -> tuple[str, str | None]:
    """The output of *command*, and the last line of its errors if it fails, else None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)  # noqa: S603  # fixed
    except subprocess.TimeoutExpired:
        return "", f"no answer within {within_s:g} seconds"
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return done.stdout, (said[-1] if said else f"exit code {done.returncode}") if done.returncode else None


def _say(line: str) -> int:
    sys.stdout.write(f"audit: {line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
