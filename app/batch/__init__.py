"""Whole collections: many files from a folder or object storage to rows of segments.

A listing is cut into shards, always the same ones. A worker turns a shard into one output file and then marks it done.
A shard whose worker was killed in between is done again from its start and overwrites what was left, so no row is
there twice.

The errors here stop a whole run. What is wrong with one file becomes that file's row and never an exception.
"""


class BatchError(Exception):
    """Base; the message is for the person at the terminal."""


class WrongPlace(BatchError):
    """The source or the destination cannot be used as named."""


class OtherRun(BatchError):
    """The destination holds the results of another run: other options, another model or other files."""


class MissingPackage(BatchError):
    """A package that only some runs need is not installed."""


class WorkerLost(BatchError):
    """A worker ended without being asked, and another try did not help."""


def reason_of(error: Exception) -> str:
    """What an error says, for rows and messages; its type's name if it says nothing."""
    return str(error).strip() or type(error).__name__
