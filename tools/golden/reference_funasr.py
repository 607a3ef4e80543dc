"""Golden files of FSMN-VAD, by FunASR. Runs inside the references' environment."""

import copy
from collections.abc import Iterator
from typing import Any

import cases
import numpy as np
import soundfile
import torch
from funasr import AutoModel
from writing import Places, places, write_cases

_MODEL = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"


def model_with(where: Places, options: cases.Options) -> Any:
    """A model of its own for each set of options: FunASR keeps those of one call for the next.

    Its schedule of silences is off: it is on by itself where no `max_end_silence_time` is given, and then gives other
    segments than the model's card has.
    """
    return AutoModel(
        model=str(where.models / _MODEL), device="cpu", ncpu=1, **copy.deepcopy(dict(options)),
        dynamic_silence=False, disable_update=True, disable_pbar=True, disable_log=True,
    )  # fmt: skip


def offline(where: Places) -> Iterator[dict[str, Any]]:
    """Whole recordings."""
    for audio, options in cases.fsmn():
        model = model_with(where, options)
        segments = model.generate(input=where.recording(audio), dynamic_silence=False)[0]["value"]
        yield {"audio": audio, "options": dict(options), "segments_ms": segments}


def streaming(where: Places) -> Iterator[dict[str, Any]]:
    """Recordings in pieces: [audio fed so far in ms, what was told then]."""
    for audio, chunk_ms in cases.FSMN_STREAMS:
        model, cache = model_with(where, {}), {}
        samples, rate = soundfile.read(where.recording(audio), dtype="float32")
        size, events = chunk_ms * rate // 1000, []
        for first in range(0, len(samples), size):
            piece = samples[first : first + size]
            told = model.generate(
                input=piece, cache=cache, is_final=first + size >= len(samples), chunk_size=chunk_ms,
                dynamic_silence=False,
            )[0]["value"]  # fmt: skip
            if told:
                events.append([(first + len(piece)) * 1000 // rate, told])
        yield {"audio": audio, "chunk_ms": chunk_ms, "events": events}


def silence_posterior(where: Places, audio: str) -> np.ndarray:
    """The network's probability of silence, for each frame of a recording, float32."""
    model = model_with(where, {})
    vad, heard = model.model, []
    forward = vad.encoder.forward
    vad.encoder.forward = lambda *given, **named: heard.append(forward(*given, **named)) or heard[-1]
    model.generate(input=where.recording(audio), dynamic_silence=False)
    scores = torch.cat(heard, dim=1)[0]
    return scores[:, vad.vad_opts.sil_pdf_ids].sum(dim=1).numpy().astype(np.float32)


where = places()
write_cases(where.golden / "offline.json", offline(where))
write_cases(where.golden / "streaming.json", streaming(where))
name = cases.FSMN_POSTERIOR.removesuffix(".wav")
np.save(where.golden / f"{name}.silence_posterior.npy", silence_posterior(where, cases.FSMN_POSTERIOR))
