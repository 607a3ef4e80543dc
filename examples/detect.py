"""Segments of a file, with httpx. usage: detect.py FILE [URL]"""

import sys
from pathlib import Path

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    import httpx
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install httpx")

path = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8000"

with path.open("rb") as file:
    answer = httpx.post(f"{url}/vad", files={"file": (path.name, file)}, data={"mode": "tight"}, timeout=600)
if answer.is_error:
    problem = answer.json()
    sys.exit(f"{problem['title']}: {problem['detail']}")
for segment in answer.json()["segments"]:
    print(f"{segment['start_ms']:>8} {segment['end_ms']:>8}  p={segment['speech_probability']:.2f}")
