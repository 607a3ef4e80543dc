"""A FastAPI application that takes an upload and does nothing with it: what a request costs before anybody does any
work. Served as the service is, by uvicorn over h11 and uvloop, without access log. One argument: the port."""

import sys

import uvicorn
from fastapi import FastAPI, Request, UploadFile

app = FastAPI()


@app.post("/vad")
async def upload(request: Request) -> dict[str, int]:
    """The body as it is."""
    return {"bytes": len(await request.body())}


@app.post("/form")
async def form(file: UploadFile) -> dict[str, int]:
    """A file in a form."""
    return {"bytes": len(await file.read())}


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    """For who waits until it serves."""
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="h11", loop="uvloop", access_log=False, log_level="error")
