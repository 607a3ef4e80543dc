"""`--help` that fits any terminal, in the reader's language: options in sections, each with its meaning.

Typer's own panels cut names that are longer than their column and take `[mic]` for a colour. click's formatter counts
characters, but a Chinese one takes two columns; so lines are broken here, by columns.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import Any

from rich.cells import cell_len
from typer import BadParameter, echo
from typer.core import TyperCommand, TyperGroup

from app.cli.language import CHINESE, say, say_error, sentences

_OWN_SECTION = "Options"
_MOST_NAMES, _GAP = 30, 2
"""Columns of the widest name that has its meaning beside it, as in click; and between the two."""
_KINDS = {"<str>": "TEXT", "<int>": "INTEGER", "<int range>": "INTEGER", "<path>": "PATH"}
_OPENING, _CLOSING = "（《「“", "，。；：、）》」”！？"
_PIECE = re.compile(rf"\s+|[{_OPENING}]*(?:[^\s\u2e80-\uffef]+|.)[{_CLOSING}]*")
"""What is not broken: a word, or a Chinese character, with the punctuation that belongs to it."""
_UsageError: Any = BadParameter.__base__
"""click's: that of Typer, which brings a click of its own, or the installed one."""


def wrapped(text: str, columns: int) -> list[str]:
    """The lines of a paragraph, each at most so many columns wide; a longer word has a line of its own."""
    lines, gap = [""], ""
    for piece in _PIECE.findall(text.strip()):
        if piece.isspace():
            gap = " "
        elif lines[-1] and cell_len(lines[-1] + gap + piece) > columns:
            lines.append(piece)
            gap = ""
        else:
            lines[-1] += gap + piece
            gap = ""
    return lines


# Typer has had two homes for its contexts and formatters; both have what is called here.


class _Help:
    """What commands and groups have in common. The methods are those that click calls."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """`Usage: fsmn-vad detect [OPTIONS] FILE...`, without the braces that Typer puts around arguments."""
        pieces = [re.sub(r"^\{(.+?)(\.\.\.)?\}(\.\.\.)?$", _bare, piece) for piece in self.collect_usage_pieces(ctx)]  # type: ignore[attr-defined]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=say("Usage: "))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What the command does."""
        text = say(" ".join(inspect.cleandoc(self.help or "").split()))  # type: ignore[attr-defined]
        formatter.write_paragraph()
        for line in wrapped(text, formatter.width - 2):
            formatter.write(f"  {line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Options under the names of their sections, in the order in which those first appear."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            if parameter.param_type_name == "argument":
                text = say(getattr(parameter, "help", None) or "")
                sections.setdefault("Arguments", []).append((str(parameter.metavar), text))
            elif (record := parameter.get_help_record(ctx)) is not None:
                title = getattr(parameter, "rich_help_panel", None) or _OWN_SECTION
                sections.setdefault(title, []).append(_record(*record))
        for title, records in sections.items():
            formatter.write(f"\n{section(say(title), records, formatter.width)}")

    def make_context(self, *args: Any, **values: Any) -> Any:
        """Read a command line."""
        with _plainly_told():
            return super().make_context(*args, **values)  # type: ignore[misc]

    def invoke(self, ctx: Any) -> Any:
        """Run it; of a group, read what follows it first."""
        with _plainly_told():
            return super().invoke(ctx)  # type: ignore[misc]


class CliCommand(_Help, TyperCommand):
    """A command whose help is written here."""


class CliGroup(_Help, TyperGroup):
    """A group whose help is written here."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The group's own options, then its commands, each with the first sentence that tells what it does."""
        super().format_options(ctx, formatter)
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        records = [(name, _first_sentence(command.help or "")) for name, command in commands if command is not None]
        formatter.write(f"\n{section(say('Commands'), records, formatter.width)}")


class _WrongUsage(_UsageError):  # type: ignore[misc]
    """A usage error in the reader's language."""

    def show(self, file: Any = None) -> None:
        """Print the usage, where to find help, and what is wrong, as click does."""
        if self.ctx is not None:
            advice = say("Try '{command} -h' for help.", command=self.ctx.command_path)
            echo(f"{self.ctx.get_usage()}\n{advice}\n", file=file, err=file is None)
        text = say("Error: {message}", message=self.format_message())
        lines = wrapped(text, get_terminal_size().columns) if sys.stderr.isatty() else [text]
        echo("\n".join(lines), file=file, err=file is None)


@contextmanager
def _plainly_told() -> Iterator[None]:
    """Say what is wrong with a command line in the reader's language, without pydantic's `Value error`."""
    try:
        yield
    except _UsageError as error:
        if isinstance(error, _WrongUsage) or type(error).__name__ == "NoArgsIsHelpError":
            raise
        raise _WrongUsage(say_error(error.format_message().replace("Value error, ", "")), error.ctx) from None


def _bare(found: re.Match[str]) -> str:
    several = (found[2] or found[3]) and " " not in found[1]
    return f"{found[1]}..." if several else found[1]


def _record(names: str, meaning: str) -> tuple[str, str]:
    """`-j, --jobs INTEGER`, and what it does, its default, what it takes, and the variable that sets it, too. Of
    click's record, whose meaning ends with `[env var: NAME; default: 2; x>=1]`."""
    names = re.sub(r"<([^<>]+)>$", lambda found: _KINDS.get(found[0], found[1]), names)
    text, _, facts = meaning.partition("  [")
    told = {name: value for name, _, value in (fact.partition(": ") for fact in facts.rstrip("]").split("; "))}
    limits = next((_limits(fact) for fact in told if "x" in fact and "=" in fact), "")
    parts = [say(text)]
    if "default" in told:
        parts.append(say("Default: {default}{limits}.", default=told["default"], limits=limits))
    elif limits:
        parts.append(say("Takes {limits}.", limits=limits[len(say("; ")) :]))
    if "env var" in told:
        parts.append(say("Environment variable: {name}.", name=told["env var"]))
    return names, sentences(parts)


def _limits(shown: str) -> str:
    """`; 1 to 8` of `1<=x<=8`, `; 1 or more` of `x>=1`."""
    low, *high = re.findall(r"-?[\d.]+", shown)
    return say("; {low} to {high}", low=low, high=high[0]) if high else say("; {low} or more", low=low)


def _first_sentence(text: str) -> str:
    told = " ".join(text.split())
    return say(told).split("。")[0] + "。" if CHINESE else f"{told.split('. ')[0].rstrip('.')}."


def section(title: str, records: Sequence[tuple[str, str]], width: int) -> str:
    """A heading, and below it names with their meanings beside them, in so many columns."""
    widest = min(max(cell_len(name) for name, _ in records), _MOST_NAMES) + _GAP
    written = [f"{title}{'：' if CHINESE else ':'}"]
    for name, meaning in records:
        lines = wrapped(meaning, width - widest - 2)
        beside = cell_len(name) <= widest - _GAP
        written.append(f"  {name}{' ' * (widest - cell_len(name))}{lines[0]}" if beside else f"  {name}")
        written += (f"  {' ' * widest}{line}" for line in (lines[1:] if beside else lines))
    return "".join(f"{line.rstrip()}\n" for line in written)
