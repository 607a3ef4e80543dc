"""Live latency in audio time: from a word's first sound to `speech_start`, and from its last to `speech_end`.

What is measured depends on the audio, the model and the options alone, not on the machine: at how much received audio
an event is known. Labelled recordings say where speech is; they are joined with pauses, so that each has a first and a
last word that nothing else stands beside. A start is counted from the first labelled stretch of a segment, an end from
its last one; stretches that a segment only passes over count for neither.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.accuracy.corpus import RATE, Clip, NoLabelledAudio, Samples, read_corpus
from benchmarks.plan import Plan
from benchmarks.process import Missing
from benchmarks.table import Result, progress

CHUNK_MS = 20
"""As telephony and WebRTC send; on average half a chunk of every figure is waiting for its end."""
_PAUSE_S = 2.0
"""Longer than the silence that ends a segment in any setting here."""
_FLOOR = 10 ** (-70 / 20)
"""RMS of the pauses: a quiet line, not digital silence, which no microphone gives."""
_COLUMNS = {
    "name": "", "mode": "mode", "starts": "starts", "start_p50_ms": "start p50 ms", "start_p95_ms": "p95 ms",
    "ends": "ends", "end_p50_ms": "end p50 ms", "end_p95_ms": "p95 ms",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    name: str
    model: str | None
    preset: str | None
    options: Mapping[str, Any]


def settings() -> list[Setting]:
    """Each model that follows streams in its own mode, FSMN and Stream-VAD in `mode=tight` too, and each preset."""
    from app.presets import PRESETS

    tight = {"mode": "tight"}
    models = [
        Setting("fsmn", "fsmn", None, {}),
        Setting("fsmn, mode=tight", "fsmn", None, tight),
        Setting("silero", "silero", None, {}),
        Setting("silero-8k", "silero-8k", None, {}),
        Setting("firered-stream", "firered-stream", None, {}),
        Setting("firered-stream, mode=tight", "firered-stream", None, tight),
        Setting("fsmn+silero", "fsmn+silero", None, {}),
        Setting("silero+firered-stream", "silero+firered-stream", None, {}),
    ]
    return models + [Setting(f"preset={preset.name}", None, preset.name, {}) for preset in PRESETS]


def latency(plan: Plan) -> Result:
    """Raises `Missing` without labelled recordings."""
    folder = plan.reference / "labelled"
    try:
        clips = read_corpus(folder)
    except NoLabelledAudio as error:
        raise Missing(str(error)) from None
    samples, stretches = joined(clips)
    seconds = sum(len(clip.samples) for clip in clips) / RATE
    title = f"Live latency in audio time: {len(clips)} labelled clips, {seconds:.0f} s, in chunks of {CHUNK_MS} ms"
    result = Result("latency", title, _COLUMNS)
    os.environ.update(plan.model_cache)
    result.rows += asyncio.run(_measure(plan, samples, stretches))
    return result


def joined(clips: Sequence[Clip]) -> tuple[Samples, list[tuple[int, int]]]:
    """The clips with pauses around them, and where speech is in the whole, [start, end) in ms."""
    rng = np.random.default_rng(0)
    pause = rng.standard_normal(int(_PAUSE_S * RATE)).astype(np.float32) * np.float32(_FLOOR)
    parts, stretches, at_ms = [pause], [], int(_PAUSE_S * 1000)
    for clip in clips:
        whole = clip.samples[: len(clip.speech) * RATE // 100]  # so that the next one begins at a whole frame
        edges = np.flatnonzero(np.diff(np.concatenate(([0], clip.speech, [0]))))
        stretches += [
            (at_ms + int(start) * 10, at_ms + int(end) * 10) for start, end in zip(*[iter(edges)] * 2, strict=True)
        ]
        parts += [whole, pause]
        at_ms += len(clip.speech) * 10 + int(_PAUSE_S * 1000)
    return np.concatenate(parts), stretches


async def _measure(plan: Plan, samples: Samples, stretches: list[tuple[int, int]]) -> list[dict[str, Any]]:
    from app.config import Settings
    from app.request import DetectionRequest
    from app.runtime import start_runtime

    runtime = await start_runtime(Settings(**({"model": plan.model} if plan.model else {})))
    rows = []
    pcm = np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()
    for setting in settings():
        progress(f"latency: {setting.name}")
        asked = {"model": setting.model, "preset": setting.preset}
        plan = await DetectionRequest.parse(setting.options, asked).resolve(runtime.models, live=True)
        messages = list(_messages(plan, pcm))
        rows.append(
            {"name": setting.name, "model": plan.chosen.model.info.name, "mode": plan.segmentation.options.mode}
            | figures(messages, stretches)
        )
    runtime.close()
    return rows


def _messages(plan: Any, pcm: bytes) -> Iterator[dict[str, Any]]:
    """What a live session says to this sound."""
    from app.live.protocols import PROTOCOLS
    from app.live.session import LiveSession

    session = LiveSession(plan, PROTOCOLS["vad"], buffer_s=10)
    size = CHUNK_MS * RATE // 1000 * 2
    last = (len(pcm) - 1) // size * size
    for at in range(0, len(pcm), size):
        session.receive_audio(pcm[at : at + size], 0.0)
        if not session.is_full and at < last:
            continue  # when an event is known does not depend on how chunks are gathered, and this is quicker
        while (pending := session.next_block()) is not None:
            found = [
                None if block is None else backend.scorer.score([block])[0]
                for backend, block in zip(plan.chosen.model.backends, pending.blocks, strict=True)
            ]
            session.commit(pending, found)
        while (text := session.next_message()) is not None:
            session.message_sent()
            yield json.loads(text)


def figures(messages: Sequence[Mapping[str, Any]], stretches: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Median and 95th percentile, and of how many."""
    known_starts: dict[int, int] = {}
    starts, ends = [], []
    for message in messages:
        if message["type"] == "speech_start":
            known_starts[message["start_ms"]] = message["at_ms"]
        elif message["type"] == "speech_end" and not message["forced_end"]:
            inside = [each for each in stretches if each[0] < message["end_ms"] and each[1] > message["start_ms"]]
            if inside:
                starts.append(known_starts[message["start_ms"]] - inside[0][0])
                ends.append(message["at_ms"] - inside[-1][1])
    return {
        f"{what}{key}": value
        for what, values in (("start", starts), ("end", ends))
        for key, value in (
            ("s", len(values)),
            ("_p50_ms", round(float(np.percentile(values, 50)))),
            ("_p95_ms", round(float(np.percentile(values, 95)))),
        )
    }
