"""sherpa-onnx's recogniser, chunk by chunk while detection still runs. Needs sherpa-onnx.

usage: before_sherpa_onnx.py FILE.wav [URL]     (16 kHz, one channel; MODEL_DIR names the recogniser's folder)

`format=ndjson` sends each chunk as soon as it is final, so recognition begins long before the answer ends.
"""

import json
import os
import sys
from pathlib import Path

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    import httpx
    import sherpa_onnx
    import soundfile
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install httpx soundfile sherpa-onnx")


def to_source(ms: float, chunk: dict[str, int]) -> float:
    """A moment of a chunk, ms, in the file's time."""
    return chunk["start_ms"] + ms


path = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"
folder = os.environ.get("MODEL_DIR", "sense-voice")
recogniser = sherpa_onnx.OfflineRecognizer.from_sense_voice(model=f"{folder}/model.onnx", tokens=f"{folder}/tokens.txt")
samples, rate = soundfile.read(path, dtype="float32")
asked = {"preset": "asr", "format": "ndjson"}
with httpx.stream("POST", f"{url}/vad", params=asked, files={"file": path.read_bytes()}, timeout=600) as answer:
    for line in map(json.loads, answer.iter_lines()):
        if line["type"] == "error":
            sys.exit(line["detail"])
        if line["type"] != "chunk":
            continue
        stream = recogniser.create_stream()
        stream.accept_waveform(rate, samples[line["start_ms"] * rate // 1000 : line["end_ms"] * rate // 1000])
        recogniser.decode_stream(stream)
        start, end = to_source(0, line), to_source(line["duration_ms"], line)
        print(f"{start / 1000:9.3f} {end / 1000:9.3f} {stream.result.text}")
