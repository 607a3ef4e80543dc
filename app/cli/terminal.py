"""What every command shares with the person at the terminal: settings read with messages to act on, what went wrong in
red, and exit statuses."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from app.cli.language import say_error
from app.config import Settings, variable_name
from app.vad.errors import InvalidOption, ModelError

ALL_WELL, SOME_FAILED, WRONG_USAGE, NO_MODEL, NO_ADDRESS = 0, 1, 2, 3, 4
"""Exit statuses that scripts may rely on; 1 and 2 are what shells and click mean by them."""
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
STDERR = Console(stderr=True, highlight=False)

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - one listens there, and is asked here
_HEALTH_LIMIT_S = 3
"""Less than container runtimes give a health check."""


class UsageError(Exception):
    """The command line makes no sense; the message says why."""


class BadSettings(UsageError):
    """A setting has a wrong value; the message names its variable."""


def read_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """From the environment, `.env` and `overrides` (which win). Raises `BadSettings`."""
    try:
        return Settings(**dict(overrides or {}))
    except ValidationError as error:
        lines = ["Wrong setting."]
        for problem in error.errors(include_url=False):
            name = variable_name(str(problem["loc"][0])) if problem["loc"] else "settings"
            lines.append(f"{name}: {problem['msg']}")
        raise BadSettings("\n".join(lines)) from None
    except SettingsError as error:
        # Text that is not JSON where JSON is needed; the message names the field alone.
        field = str(error).split('"')[1]
        raise BadSettings(f"Wrong setting.\n{variable_name(field)}: this is not JSON") from None


def run_command(command: Callable[[Settings], int], overrides: Mapping[str, Any] | None = None) -> int:
    """Read the settings and run a command with them; its exit status, or the one that fits what it raised, which is
    printed."""
    try:
        return command(read_settings(overrides))
    except (UsageError, InvalidOption) as error:
        return failed(error, WRONG_USAGE)
    except (ModelError, FileNotFoundError) as error:
        return failed(error, NO_MODEL)
    except OSError as error:
        return failed(error, SOME_FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def failed(error: Exception | str, status: int) -> int:
    """Say what went wrong; `status`, for the caller to return."""
    # What a request would write as mode=tight is a flag here.
    text = re.sub(r"\badd (\w+)=", lambda found: f"add --{found[1].replace('_', '-')} ", str(error))
    _print(text, "red")
    return status


def _print(text: str, style: str) -> None:
    # A terminal would break a long line in mid-word; a log keeps it whole, for programs that look for a text.
    STDERR.print(say_error(text), style=style, markup=False, soft_wrap=not STDERR.is_terminal)


def counted(number: int, noun: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def note(text: str) -> None:
    """Say something that a person should know, and that ends nothing."""
    _print(text, "yellow")


def service_address(settings: Settings) -> str:
    """Host and port at which the service of these settings is to be reached from here."""
    return f"{_ANY_ADDRESS.get(settings.host, settings.host)}:{settings.port}"


def health(url: str | None) -> int:
    """`fsmn-vad health`: print what the service says of itself; 0 when it is ready."""
    return run_command(lambda settings: _health(url or f"http://{service_address(settings)}"))


def _health(url: str) -> int:
    # Python's own client: a container asks every few seconds, and this one is there and imported in no time. A proxy of
    # the environment would be asked for an address of this machine, so none is.
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(f"{url.rstrip('/')}/health/ready", timeout=_HEALTH_LIMIT_S) as answer:
            print(answer.read().decode())  # noqa: T201
    except HTTPError as refusal:
        print(refusal.read().decode(errors="replace"))  # noqa: T201
        return SOME_FAILED
    except (OSError, HTTPException, ValueError) as error:
        return failed(f"no answer from {url}: {error or type(error).__name__}", SOME_FAILED)
    return ALL_WELL
