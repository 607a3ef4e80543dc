"""What stops a whole run. What is wrong with one file is a row of the output and never an exception."""


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
    """What an error says, for rows and messages; its type's name where it says nothing."""
    return str(error).strip() or type(error).__name__
