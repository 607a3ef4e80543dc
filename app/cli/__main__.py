"""Lets `python -m app.cli` be the command line where its script is not installed."""

from app.cli import main

main()
