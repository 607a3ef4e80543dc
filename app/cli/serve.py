"""`fsmn-vad serve`: the service from the settings to an exit status."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from app.cli.terminal import ALL_WELL, NO_ADDRESS, NO_MODEL, failed, run_command
from app.config import Settings, variable_name


def run(overrides: Mapping[str, Any]) -> int:
    """Serve until stopped; the exit status."""
    return run_command(_serve, overrides)


def _serve(settings: Settings) -> int:
    from app.server.serve import CannotListen, FailedStart, serve

    try:
        serve(settings)
    except CannotListen as error:
        return failed(error, NO_ADDRESS)  # not the status of a missing model: trying again may help
    except FailedStart as error:
        from app.main import FORESEEN, log_failed_start

        reason = error.__cause__ or error
        if isinstance(reason, Exception) and not isinstance(reason, FORESEEN):
            log_failed_start(reason)  # with a traceback: the fault is ours
        # Not in a log line: what it says to do takes several lines.
        return failed(f"\nfsmn-vad could not start.\n{reason}", NO_MODEL)
    return ALL_WELL


def print_settings() -> None:
    """Every setting with its default and meaning, as a table."""
    table = Table("variable", "default", "meaning", title="Settings: environment variables, or lines of a .env file")
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        table.add_row(variable_name(name), "" if default in (None, "", [], {}) else str(default), field.description)
    Console().print(table)
