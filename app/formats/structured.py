"""For programs: the full JSON document, and FunASR's."""

from typing import Any

from app.formats.report import ChannelSegments, ModelInfo, Report
from app.vad.segment import Segment


def json_document(report: Report) -> dict[str, Any]:
    """Everything known about a detection; times in integer ms.

    `segments` has all of them by start. Asked for channels, each carries its `channel`, and `channels` sums each up.
    """
    document: dict[str, Any] = {
        "request_id": report.request_id,
        "name": report.name,
        "model": model_document(report.model),
        "device": report.device,
        "degraded": report.degraded,
        "audio": {
            "duration_ms": report.audio.duration_ms,
            "sample_rate": report.audio.sample_rate,
            "channels": report.audio.channels,
            "format": report.audio.format,
            "subtype": report.audio.subtype,
            "truncated": report.audio.truncated,
        },
        "segments": [
            segment_document(index, segment, channel) for index, (channel, segment) in enumerate(report.in_order(), 1)
        ],
        "speech_ms": report.speech_ms,
        "speech_ratio": report.speech_ratio,
        "options": dict(report.options),
        "timing": {
            "queue_ms": report.timing.queue_ms,
            "decode_ms": report.timing.decode_ms,
            "inference_ms": report.timing.inference_ms,
            "total_ms": report.timing.total_ms,
            "rtf": report.real_time_factor,
        },
    }
    if len(report.channels) > 1:
        document["channels"] = [_channel_document(entry, report) for entry in report.channels]
    elif report.channels and report.channels[0].probabilities is not None:
        document["probabilities"] = _probabilities(report.channels[0], report.frame_ms)
    return document


def model_document(model: ModelInfo) -> dict[str, Any]:
    """The model, for answers."""
    return {"id": model.id, "revision": model.revision, "fingerprint": model.fingerprint}


def segment_document(index: int, segment: Segment, channel: int | None) -> dict[str, Any]:
    """One segment; `channel` only when there is one."""
    document: dict[str, Any] = {
        "index": index,
        "start_ms": segment.start_ms,
        "end_ms": segment.end_ms,
        "duration_ms": segment.duration_ms,
        "forced_end": segment.forced_end,
        "speech_probability": round(segment.speech_probability, 4),
    }
    if channel is not None:
        document["channel"] = channel
    return document


def funasr_documents(report: Report) -> list[dict[str, Any]]:
    """FunASR's list of `{"key", "value": [[start_ms, end_ms], ...]}`, one entry for each channel."""
    many = len(report.channels) > 1
    return [
        {
            "key": f"{report.name}-ch{entry.channel}" if many else report.name,
            "value": [[segment.start_ms, segment.end_ms] for segment in entry.segments],
        }
        for entry in report.channels
    ]


def _channel_document(entry: ChannelSegments, report: Report) -> dict[str, Any]:
    duration = report.audio.duration_ms
    document: dict[str, Any] = {
        "channel": entry.channel,
        "segment_count": len(entry.segments),
        "speech_ms": entry.speech_ms,
        "speech_ratio": round(entry.speech_ms / duration, 4) if duration else 0.0,
    }
    if entry.probabilities is not None:
        document["probabilities"] = _probabilities(entry, report.frame_ms)
    return document


def _probabilities(entry: ChannelSegments, frame_ms: int) -> dict[str, Any]:
    return {"frame_ms": frame_ms, "values": list(entry.probabilities or ())}
