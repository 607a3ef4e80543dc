"""Segmenters with their options, as a request would have them, without a model's or a server's defaults."""

from typing import Any

from app.vad.segmenters.registry import SEGMENTERS, Segmentation, Segmenters


def segmentation(mode: str, **options: Any) -> Segmentation:
    """Of any mode."""
    return Segmenters(SEGMENTERS).resolve(options, default_mode=mode, model_defaults={}, server_defaults={})


def endpoint(**options: Any) -> Segmentation:
    """The end-point machine."""
    return segmentation("endpoint", **options)


def tight(**options: Any) -> Segmentation:
    """Hysteresis."""
    return segmentation("tight", **options)
