"""Formats for the next tool. They hold the pieces of audio that a recogniser is handed: chunks where they are asked
for, else segments of speech.

- `clips`: faster-whisper's `clip_timestamps`, a list of start, end, start, end … in seconds.
- `whisperx`: what whisperX's `merge_chunks` gives and its `transcribe` goes through: `start`, `end` (s), and in each
  the (start, end) of its `segments`.
- `kaldi`: the `segments` file of a data directory: utterance, recording, start and end in seconds.
- `lhotse`: a manifest of `SupervisionSegment`s, a line of JSON each; `recording_id` is the file's name.
- `labelstudio`: a task with a prediction for Label Studio's audio labels.
- `eaf`: an ELAN document with a tier for each channel and label.
"""

import json
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr

from app.formats.report import AudioSummary, Piece, Report, track_name
from app.vad.segment import SPEECH

_REGION_FROM, _REGION_TO = "label", "audio"
"""Names of the control and object tags in Label Studio's own template for audio regions."""


def clip_timestamps(report: Report) -> list[float]:
    """Make the list that faster-whisper's `transcribe(…, clip_timestamps=…)` takes."""
    return [_s(edge) for piece in report.pieces() for edge in (piece.start_ms, piece.end_ms)]


def whisperx_chunks(report: Report) -> list[dict[str, Any]]:
    """Make what whisperX's voice activity detection hands to its recogniser."""
    times = {
        index: (_s(segment.start_ms), _s(segment.end_ms)) for index, (_, segment) in enumerate(report.in_order(), 1)
    }
    return [
        {
            "start": _s(piece.start_ms),
            "end": _s(piece.end_ms),
            "segments": [list(times[index]) for index in piece.segments],
        }
        for piece in report.pieces()
    ]


def kaldi_text(report: Report) -> str:
    """Write a line for each piece, sorted as Kaldi wants: `talk-ch0-00000820-00002340 talk-ch0 0.820 2.340`.

    Each channel is a recording of its own.
    """
    lines = []
    for piece in report.pieces():
        times = f"{piece.start_ms / 1000:.3f} {piece.end_ms / 1000:.3f}"
        lines.append(f"{_utterance(report, piece)} {_recording(report, piece)} {times}\n")
    return "".join(sorted(lines))


def lhotse_lines(report: Report) -> str:
    """Write a supervision on each line, without text, which the recogniser adds."""
    return "".join(
        json.dumps(
            {
                "id": _utterance(report, piece),
                "recording_id": report.name,
                "start": _s(piece.start_ms),
                "duration": _s(piece.duration_ms),
                "channel": piece.channel or 0,
            },
            ensure_ascii=False,
        )
        + "\n"
        for piece in report.pieces()
    )


def labelstudio_tasks(report: Report) -> list[dict[str, Any]]:
    """Make a list of one task to import. Where the audio lies only the importer knows: `data.audio` is the file's own
    name, which an importer puts its storage's address in front of."""
    regions: list[dict[str, Any]] = []

    def add(start_ms: int, end_ms: int, label: str, channel: int | None, **members: Any) -> None:
        value: dict[str, Any] = {"start": _s(start_ms), "end": _s(end_ms), "labels": [label]}
        if channel is not None:
            value["channel"] = channel
        regions.append(
            {
                "id": f"{report.name}-{len(regions) + 1}",
                "from_name": _REGION_FROM,
                "to_name": _REGION_TO,
                "type": "labels",
                "original_length": _s(report.audio.duration_ms),
                "value": value,
                **members,
            }
        )

    if report.has_chunks:
        for piece in report.pieces():
            add(piece.start_ms, piece.end_ms, SPEECH, piece.channel)
    else:
        for channel, segment in report.in_order():
            score = round(segment.speech_probability, 4)
            add(segment.start_ms, segment.end_ms, segment.label or SPEECH, channel, score=score)
    model = f"{report.model.name}-{report.options.get('mode', '')}".strip("-")
    return [
        {
            "data": {"audio": report.audio.file_name or report.name},
            "predictions": [{"model_version": model, "result": regions}],
        }
    ]


def eaf_text(report: Report) -> str:
    """Write ELAN's annotation format 3.0: a tier for each channel and label, and one for each channel's chunks.

    Every edge has a time slot of its own, as ELAN writes them. The sound is named as a file that lies beside the
    document, which is where ELAN looks for it.
    """
    spans = [
        (track.name, [(each.start_ms, each.end_ms, track.label or SPEECH) for each in track.segments])
        for track in report.tracks()
    ]
    if report.has_chunks:
        chunks = report.chunks()
        for entry in report.channels:
            mine = [chunk for chunk in chunks if chunk.channel == entry.channel]
            named = [(chunk.start_ms, chunk.end_ms, f"chunk {chunk.index}") for chunk in mine]
            spans.append((track_name(entry.channel, "chunks"), named))
    tiers: list[str] = []
    slots: list[int] = []
    count = 0
    for name, annotations in spans:
        tiers.append(f'    <TIER DEFAULT_LOCALE="en" LINGUISTIC_TYPE_REF="default-lt" TIER_ID={quoteattr(name)}>\n')
        for start_ms, end_ms, text in annotations:
            count += 1
            slots += [start_ms, end_ms]
            first = len(slots) - 1
            tiers.append(
                f'        <ANNOTATION>\n            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}" '
                f'TIME_SLOT_REF1="ts{first}" TIME_SLOT_REF2="ts{first + 1}">\n'
                f"                <ANNOTATION_VALUE>{escape(text)}</ANNOTATION_VALUE>\n"
                "            </ALIGNABLE_ANNOTATION>\n        </ANNOTATION>\n"
            )
        tiers.append("    </TIER>\n")
    order = "".join(
        f'        <TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{value}"/>\n'
        for number, value in enumerate(slots, 1)
    )
    urn = uuid5(NAMESPACE_URL, f"{report.name}/{report.model.fingerprint}")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ANNOTATION_DOCUMENT AUTHOR="" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        f'    <HEADER MEDIA_FILE={quoteattr(report.audio.file_name)} TIME_UNITS="milliseconds">\n'
        f"{_media(report.audio)}"
        f'        <PROPERTY NAME="URN">urn:nl-mpi-tools-elan-eaf:{urn}</PROPERTY>\n'
        f'        <PROPERTY NAME="lastUsedAnnotationId">{count}</PROPERTY>\n'
        f"    </HEADER>\n    <TIME_ORDER>\n{order}    </TIME_ORDER>\n"
        f"{''.join(tiers)}"
        '    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>\n'
        '    <LOCALE COUNTRY_CODE="US" LANGUAGE_CODE="en"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    )


def _media(audio: AudioSummary) -> str:
    """ELAN's description of the sound, whose address is a URI; nothing where nobody has said what it is called."""
    if not audio.file_name:
        return ""
    place, kind = quoteattr(f"./{quote(audio.file_name)}"), "audio/x-wav" if audio.format == "WAV" else "audio/*"
    return f'        <MEDIA_DESCRIPTOR MEDIA_URL={place} MIME_TYPE="{kind}" RELATIVE_MEDIA_URL={place}/>\n'


def _recording(report: Report, piece: Piece) -> str:
    return report.name + ("" if piece.channel is None else f"-ch{piece.channel}")


def _utterance(report: Report, piece: Piece) -> str:
    # Eight digits are more than a day, so that the order of text is that of time.
    return f"{_recording(report, piece)}-{piece.start_ms:08d}-{piece.end_ms:08d}"


def _s(time_ms: int) -> float:
    return time_ms / 1000
