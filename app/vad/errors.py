"""The error tree of the service's domain: everything below `app.api` raises these and nothing else.

They say what went wrong in the words of the domain and know nothing of HTTP; `app.api.errors` holds the one table that
turns each class into a status and a code.
"""


class VadError(Exception):
    """Base of every error that a caller can cause or should be told about."""


class InvalidOption(VadError):
    """A detection option is unknown, out of its range, or contradicts another one."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option
        self.reason = reason


class AudioError(VadError):
    """Base of what can be wrong with the audio itself."""


class NoAudio(AudioError):
    """No file was given, or it has no bytes."""


class UnsupportedAudio(AudioError):
    """The bytes are not audio, or audio in a form that no decoder at hand reads."""


class InvalidAudio(AudioError):
    """The audio is broken: no frames, a rate or channel count out of range, non-finite samples."""


class AudioTooLong(AudioError):
    """The decoded audio is longer than the limit."""


class ModelError(VadError):
    """Base of what can go wrong while the model is found, read and checked."""


class ModelNotFound(ModelError):
    """The model is neither a directory, nor cached, nor could it be downloaded."""


class InvalidModel(ModelError):
    """The model's files are there but cannot be used: missing, misshapen or not the expected ones."""


class NotReady(VadError):
    """The engine has no model yet, or is shutting down."""


class Overloaded(VadError):
    """The service is full; trying again a little later may succeed."""


class DeadlineExceeded(VadError):
    """The request took longer than it may."""
