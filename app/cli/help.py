"""Commands whose `--help` fits any terminal: options in sections, whole, each with what it means below or beside it.

Typer's own panels cut names that are longer than their column, and take `[mic]` for a colour.
"""

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand

_OWN_SECTION = "Options"


def either_spelling(name: str) -> str:
    """The API's spelling of an option is taken too: `--max_end_silence_time`."""
    return name.replace("_", "-")


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "token_normalize_func": either_spelling}


class SectionedCommand(TyperCommand):
    """Its options stand under the names of their sections, in the order in which those first appear."""

    # Typer has had two homes for its context and formatter; both have what is called here.
    def format_options(self, ctx: Any, formatter: Any) -> None:
        """As click calls it."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                told = getattr(parameter, "help", None) or ""
                sections.setdefault("Arguments", []).append((str(parameter.metavar), told))
            elif (record := parameter.get_help_record(ctx)) is not None:
                section = getattr(parameter, "rich_help_panel", None) or _OWN_SECTION
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            _write(formatter, section, records)


def _write(formatter: Any, title: str, records: Iterable[tuple[str, str]]) -> None:
    with formatter.section(title):
        formatter.write_dl(list(records))
