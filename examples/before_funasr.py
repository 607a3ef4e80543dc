"""FunASR's recogniser with the chunks of this service instead of FunASR's own VAD. Needs funasr.

usage: before_funasr.py FILE [URL]

Chunks of at most 30 s, cut at pauses, come as 16 kHz WAVs in a zip. Its manifest says where each lies in the file.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    import httpx
    import soundfile
    from funasr import AutoModel
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install httpx soundfile funasr torch torchaudio")


def to_source(ms: float, row: dict[str, str]) -> float:
    """A moment of a chunk, ms, in the file's time. `row`: the chunk's line of the manifest."""
    return float(row["source_ms"]) + ms


path = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
asked = {"preset": "asr", "format": "zip", "excerpt_rate": "16000", "excerpt_channels": "1", "time_map": "true"}
answer = httpx.post(f"{url}/vad", params=asked, files={"file": path.read_bytes()}, timeout=600).raise_for_status()
model = AutoModel(model="paraformer-zh", punc_model="ct-punc")  # no vad_model: this is it
with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
    for row in csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())):
        samples, _ = soundfile.read(io.BytesIO(archive.read(row["file"])), dtype="float32")
        [heard] = model.generate(input=samples)
        start, end = to_source(0, row), to_source(len(samples) / 16, row)
        print(f"{start / 1000:9.3f} {end / 1000:9.3f} {heard['text']}")
