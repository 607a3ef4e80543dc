"""FSMN-VAD as a service: audio in, speech segments out."""

__version__ = "0.1.0"
