"""`fsmn-vad` as a person or a script calls it: in this process, which is quick, or in one of its own, for tests whose
matter is the process: its pipes, signals, exit status, and what it imports."""

import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from typer.testing import CliRunner

from app.cli.commands import cli
from tests import forked

_LIMIT_S = 60
_FOREIGN = ("VAD_", "MODELSCOPE_", "AWS_", "RAY_")
"""Settings of whoever runs the tests, which have no say."""


@dataclass(frozen=True)
class Ended:
    """A call that is over."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """`stderr`, with options named as requests name them: `add --mode tight` is `add mode=tight` there."""
        return re.sub(r"\badd --([\w-]+) ", lambda flag: f"add {flag[1].replace('-', '_')}=", self.stderr)


def call(model: Path | str, *arguments: str | Path, stdin: bytes = b"", **settings: str) -> Ended:
    """Call it in this process. Raises what nothing has caught, where a process would show a traceback."""
    others: dict[str, str | None] = {name: None for name in os.environ if name.startswith(_FOREIGN)}
    environment = {**others, **_usual(model), **settings}
    with kept_process(), _standard_input(stdin):
        result = CliRunner().invoke(cli, list(map(str, arguments)), input=stdin, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def spawn(
    model: Path | str, *arguments: str | Path, stdin: bytes = b"", limit_s: float = _LIMIT_S, **settings: str
) -> Ended:
    """Call it in a process of its own (`tests/forked.py`)."""
    ended = forked.run(*map(str, arguments), env=environment(model, **settings), stdin=stdin, timeout=limit_s)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def command(*arguments: str | Path) -> list[str]:
    """The command line of a process."""
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def environment(model: Path | str, **settings: str) -> dict[str, str]:
    """Of a process: none of the caller's settings."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**mine, **_usual(model), **settings}


def _usual(model: Path | str) -> dict[str, str]:
    return {"VAD_MODEL": str(model), "VAD_DEVICE": "cpu", "COLUMNS": "100"}


@contextmanager
def kept_process() -> Iterator[None]:
    """Commands say where the whole process's logs go, and `serve` what its signals do; afterwards it is as before."""
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level, filters = root.handlers[:], root.level, server.filters[:]
    configuration = structlog.get_config()
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        root.handlers, server.filters = handlers, filters
        root.setLevel(level)
        structlog.configure(**configuration)
        for number, handler in signals.items():
            signal.signal(number, handler)


@contextmanager
def _standard_input(content: bytes) -> Iterator[None]:
    """File descriptor 0, which `stream -` reads past Python's own standard input."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        kept = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(kept, 0)
            os.close(kept)
