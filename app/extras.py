"""Packages that only some commands need: `pyproject.toml` keeps them in extras, so that a machine which only serves
goes without. Whoever needs one asks here, and a person is told how to get it."""

from importlib.util import find_spec


def how_to_install(extra: str) -> str:
    """The command that brings an extra, typed where `make install` or `make run` was: in the project's folder."""
    return f"make install EXTRAS={extra}"


def missing(extra: str, *modules: str) -> str | None:
    """What to tell a person when one of these modules is not installed, and which extra of `pyproject.toml` has it;
    None when all are here. Nothing is imported."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return None
    return f"{absent[0]} is not installed; it comes with the extra [{extra}]: {how_to_install(extra)}"
