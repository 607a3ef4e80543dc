"""Golden files of FireRedVAD's three networks, by its own package. Runs inside the references' environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import numpy as np
from fireredvad.aed import FireRedAed, FireRedAedConfig
from fireredvad.stream_vad import FireRedStreamVad, FireRedStreamVadConfig
from fireredvad.vad import FireRedVad, FireRedVadConfig
from writing import Places, in_ms, places, write_cases

_MODEL = "xukaituo/FireRedVAD"


def network(where: Places, name: str) -> str:
    """A network's folder."""
    return str(where.models / _MODEL / name)


def offline(where: Places) -> Iterator[dict[str, Any]]:
    """Whole recordings through the VAD."""
    for audio, options in cases.firered():
        vad = FireRedVad.from_pretrained(network(where, "VAD"), FireRedVadConfig(**options))
        found, _ = vad.detect(where.recording(audio))
        yield {"audio": audio, "options": dict(options), "segments_ms": in_ms(found["timestamps"])}


def stream(where: Places) -> Iterator[dict[str, Any]]:
    """Whole recordings through the Stream-VAD. Events: kind, the frame at which it was known, the frame that it tells;
    frames count from 1."""
    for audio, options in cases.firered_stream():
        vad = FireRedStreamVad.from_pretrained(network(where, "Stream-VAD"), FireRedStreamVadConfig(**options))
        frames, found = vad.detect_full(where.recording(audio))
        events: list[list[Any]] = []
        for frame in frames:
            if frame.is_speech_start:
                events.append(["start", frame.frame_idx, frame.speech_start_frame])
            if frame.is_speech_end:
                events.append(["end", frame.frame_idx, frame.speech_end_frame])
        segments = in_ms(found["timestamps"])
        yield {"audio": audio, "options": dict(options), "segments_ms": segments, "events": events}


def events(where: Places) -> Iterator[dict[str, Any]]:
    """Whole recordings through the AED."""
    for audio, options in cases.firered_aed():
        aed = FireRedAed.from_pretrained(network(where, "AED"), FireRedAedConfig(**options))
        found, _ = aed.detect(where.recording(audio))
        spans = {label: in_ms(pairs) for label, pairs in found["event2timestamps"].items()}
        yield {"audio": audio, "options": dict(options), "timestamps_ms": spans, "ratio": found["event2ratio"]}


def save_posteriors(where: Places) -> None:
    """The networks' probabilities, float32: [frames], of the AED [frames, 3]."""
    for audio in cases.FIRERED_POSTERIORS:
        vad = FireRedVad.from_pretrained(network(where, "VAD"))
        _save(where, audio, "offline", vad.detect(where.recording(audio), do_postprocess=False)[1].numpy())
    for audio in cases.FIRERED_STREAM_POSTERIORS:
        stream_vad = FireRedStreamVad.from_pretrained(network(where, "Stream-VAD"))
        # Its frames tell probabilities in three decimals.
        features, _ = stream_vad.audio_feat.extract(where.recording(audio))
        _save(where, audio, "stream", stream_vad.vad_model.forward(features[None])[0].squeeze().numpy())
    for audio in cases.FIRERED_AED_POSTERIORS:
        aed = FireRedAed.from_pretrained(network(where, "AED"))
        _save(where, audio, "aed", aed.detect(where.recording(audio))[1].numpy())


def _save(where: Places, audio: str, kind: str, values: np.ndarray) -> None:
    stem = Path(audio).stem.removeprefix("firered_")
    np.save(where.golden / f"firered_{stem}.{kind}_posterior.npy", values.astype(np.float32))


where = places()
write_cases(where.golden / "firered_offline.json", offline(where))
write_cases(where.golden / "firered_stream.json", stream(where))
write_cases(where.golden / "firered_aed.json", events(where))
save_posteriors(where)
