"""`fsmn-vad`: the command line. Commands are imported when they run, so that `--help` does not wait for torch."""

from app.cli.commands import cli


def main() -> None:
    """Entry point of the console script."""
    cli()


__all__ = ["cli", "main"]
