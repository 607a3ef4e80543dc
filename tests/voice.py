"""The synthetic voice of the service's own sample, for tests of models of speech."""

from app.audio.voice import voice

__all__ = ["voice"]
