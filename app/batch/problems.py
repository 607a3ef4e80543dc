"""What stops a whole run. What is wrong with one file is a row of the output and never an exception."""


class BatchError(Exception):
    """Base; the message is for the person at the terminal."""


class WrongPlace(BatchError):
    """The source or the destination cannot be used as named."""


class OtherRun(BatchError):
    """The destination holds the results of another run: other options, another model or other files."""


class WorkerLost(BatchError):
    """A worker ended without being asked, and another try did not help."""
