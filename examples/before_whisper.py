"""Sends only the speech to Whisper, and gives its words the times of the file. Needs faster-whisper.

usage: before_whisper.py FILE [URL]

The service returns the speech as one WAV, with a map from its times to those of the file. The file is decoded once,
silence costs nothing, and Whisper invents no words in silence. (If the recogniser reads the file itself, use
`format=clips`, which gives the same pieces as its `clip_timestamps`.)
"""

import io
import sys
from pathlib import Path

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    import httpx
    from faster_whisper import WhisperModel
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install httpx faster-whisper")


def to_source(ms: float, time_map: list[tuple[float, float, float]]) -> float:
    """A moment of the WAV, ms, in the file's time. `time_map`: (start in the WAV, start in the file, length)."""
    for start, source, length in time_map:
        if ms <= start + length:
            return source + max(0.0, ms - start)
    return ms


path = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
asked = {"preset": "asr", "excerpt_rate": "16000", "excerpt_channels": "1", "time_map": "true"}
with httpx.Client(base_url=url, timeout=600) as client:
    # The map by itself: of a long file it is too long for the header X-VAD-Time-Map.
    told = client.post("/vad", params=asked, files={"file": path.read_bytes()}).raise_for_status().json()
    speech = client.post(
        "/vad", params={**asked, "format": "wav"}, files={"file": path.read_bytes()}
    ).raise_for_status()
for warning in told["warnings"]:
    print(f"{warning['code']}: {warning['detail']}", file=sys.stderr)
found, _ = WhisperModel("small").transcribe(io.BytesIO(speech.content), vad_filter=False)
for each in found:
    start, end = (to_source(s * 1000, told["time_map"]) for s in (each.start, each.end))
    print(f"{start / 1000:9.3f} {end / 1000:9.3f} {each.text}")
