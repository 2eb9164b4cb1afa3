"""A hook for PyInstaller, which makes executables: it names what an analysis of the code does not find.

PyInstaller finds it by an entry point, so that nothing has to be set. Not for other programs.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_directories"]


def hook_directories() -> list[str]:
    """Where the hook is; PyInstaller runs it if an app imports the package."""
    return [str(Path(__file__).parent)]
