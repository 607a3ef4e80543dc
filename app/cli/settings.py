"""Reading the settings at the edge, with messages a person can act on."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from app.config import Settings, variable_name


class BadSettings(Exception):
    """A setting has a wrong value; the message names its variable."""


def read_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """From the environment, `.env` and `overrides` (which win). Raises `BadSettings`."""
    try:
        return Settings(**dict(overrides or {}))
    except ValidationError as error:
        lines = [f"{_variable(problem)}: {problem['msg']}" for problem in error.errors(include_url=False)]
        raise BadSettings("\n".join(lines)) from None
    except SettingsError as error:
        # Text that is not JSON where JSON is needed; the message names the field alone.
        field = str(error).split('"')[1]
        raise BadSettings(f"{variable_name(field)}: this is not JSON") from None


def read_settings_or_say(console: Console, overrides: Mapping[str, Any] | None = None) -> Settings | None:
    """As `read_settings`; None after telling the person at the terminal what is wrong."""
    try:
        return read_settings(overrides)
    except BadSettings as error:
        console.print(f"Wrong setting.\n{error}", style="red", markup=False, soft_wrap=True)
        return None


def _variable(problem: Mapping[str, Any]) -> str:
    return variable_name(str(problem["loc"][0])) if problem["loc"] else "settings"
