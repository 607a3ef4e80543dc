"""What detects one file for the command line, here or on a server."""

from collections.abc import Awaitable, Callable

from app.cli.inputs import Input
from app.formats.report import Report

Tell = Callable[[int, int | None], None]
"""Told how many ms have been looked at, and of how many, if that is known."""
FileDetector = Callable[[Input, Tell], Awaitable[Report]]
