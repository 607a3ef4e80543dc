"""`fsmn-vad`: the command line. Commands are imported when they run, so that `--help` does not wait for torch."""

import sys


def main() -> None:
    """Entry point of the console script."""
    # Containers ask for their health every few seconds: this goes without the flags of all other commands, whose making
    # takes half of the time.
    if sys.argv[1:] == ["health"]:
        from app.cli.terminal import health

        sys.exit(health(None))
    from app.cli.commands import cli

    cli()


__all__ = ["main"]
