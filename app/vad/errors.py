"""The error tree of the service's domain: everything below `app.api` raises these and nothing else.

They say what went wrong in the words of the domain and know nothing of HTTP. Each class has its `code`, the one for
programs: in problem documents, live messages and batch rows alike. `app.api.errors` adds the statuses.
"""

from typing import ClassVar


class VadError(Exception):
    """Base of every error that a caller can cause or should know of."""

    code: ClassVar[str] = "internal"


class InvalidOption(VadError):
    """A detection option is unknown, out of its range, or contradicts another one."""

    code = "invalid_option"

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option
        self.reason = reason


class NothingAcceptable(VadError):
    """No form of answer is one that the client takes."""

    code = "not_acceptable"


class AudioError(VadError):
    """Base of what can be wrong with the audio itself."""


class NoAudio(AudioError):
    """No file was given, or it has no bytes."""

    code = "no_audio"


class UnsupportedAudio(AudioError):
    """The bytes are not audio, or audio in a form that no decoder at hand reads."""

    code = "unsupported_audio"


class InvalidAudio(AudioError):
    """The audio is broken: no frames, a rate or channel count out of range, non-finite samples."""

    code = "invalid_audio"


class AudioTooLong(AudioError):
    """The decoded audio is longer than the limit."""

    code = "audio_too_long"


class ModelError(VadError):
    """Base of what can go wrong while the model is found, read and checked."""


class ModelNotFound(ModelError):
    """The model is neither a directory, nor cached, nor could it be downloaded."""

    code = "model_not_found"


class InvalidModel(ModelError):
    """The model's files are there but cannot be used: missing, misshapen or not the expected ones."""

    code = "invalid_model"


class NotReady(VadError):
    """The engine has no model yet, or is shutting down."""

    code = "not_ready"


class Overloaded(VadError):
    """The service is full; trying again a little later may succeed."""

    code = "overloaded"


class DeadlineExceeded(VadError):
    """The request took longer than it may."""

    code = "deadline_exceeded"
