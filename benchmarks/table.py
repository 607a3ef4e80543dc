"""Tables of results, printed; and the line that says what is being measured right now."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

_CONSOLE = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
_STATUS = Console(stderr=True, highlight=False)


@dataclass
class Result:
    """What one case found: rows of figures, and who could not be measured."""

    case: str
    title: str
    columns: dict[str, str]
    """Keys of the rows, and what stands above their columns."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rounds: int | None = None
    """How often all was measured; None: as often as the plan says."""


def show(result: Result) -> None:
    """Print one result as a table."""
    table = Table(title=result.title, title_justify="left", title_style="bold")
    for index, heading in enumerate(result.columns.values()):
        table.add_column(heading, justify="right" if index else "left")
    for row in result.rows:
        table.add_row(*(cell(row.get(key)) for key in result.columns))
    _CONSOLE.print(table)
    for note in result.notes:
        _CONSOLE.print(f"  {note}", markup=False)
    for name, reason in _missing(result.missing).items():
        _CONSOLE.print(f"  not measured: {name}: {reason}", style="yellow", markup=False)
    _CONSOLE.print()


def progress(text: str) -> None:
    """Say what is being measured."""
    _STATUS.print(text, style="dim", markup=False)


def _missing(missing: Mapping[str, str]) -> dict[str, str]:
    return {name: " ".join(reason.split())[-300:] for name, reason in missing.items()}


def cell(value: object) -> str:
    """A figure as tables have it: three digits that count; `–` for none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
