"""A FastAPI service around FunASR behind a lock, as people build it today: one model, one request at a time.

It is measured beside this project's service. usage: locked_service.py PORT MODEL CORES
"""

import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

port, model_name, cores = int(sys.argv[1]), sys.argv[2] or "fsmn-vad", int(sys.argv[3])
os.environ.setdefault("OMP_NUM_THREADS", str(cores))

import uvicorn  # noqa: E402 - after the threads are set
from fastapi import FastAPI, UploadFile  # noqa: E402
from funasr import AutoModel  # noqa: E402

app = FastAPI()
lock = threading.Lock()
model = AutoModel(
    model=model_name, device="cpu", ncpu=cores,
    dynamic_silence=False, disable_update=True, disable_pbar=True, disable_log=True,
)  # fmt: skip


@app.get("/health/ready")
def ready() -> dict[str, str]:
    """The model is loaded before the socket is open."""
    return {"status": "ok"}


@app.post("/vad")
def vad(file: UploadFile) -> dict[str, Any]:
    """Segments of one file; FastAPI runs this in a thread, where it waits for the lock."""
    with tempfile.NamedTemporaryFile(suffix=Path(file.filename or "a.wav").suffix) as copy:
        while data := file.file.read(1 << 20):
            copy.write(data)
        copy.flush()
        with lock:
            found = model.generate(input=copy.name, dynamic_silence=False)
    return {"segments": [{"start_ms": start, "end_ms": end} for start, end in found[0]["value"]]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
