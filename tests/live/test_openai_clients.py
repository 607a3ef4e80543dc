"""OpenAI's own clients, in Python and JavaScript, on `/v1/realtime`."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile
import soxr

from tests.live.client import PATIENCE_S, file_pairs, s16, wav
from tests.live.node import NODE, node_with
from tests.live.test_realtime import PCM, RATE, SAME, TIGHT, turns
from tests.server import RunningServer

pytestmark = pytest.mark.full

SPEECH_S = 20
"""Of the model card's example: six segments, and each client sends it as fast as it is taken."""


def spoken(reference: Path) -> bytes:
    samples, rate = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    return s16(soxr.resample(samples, rate, RATE)[: SPEECH_S * RATE])


async def with_python(server: RunningServer, pcm: bytes) -> list[dict[str, Any]]:
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    client = openai.AsyncOpenAI(
        api_key="unused", base_url=f"{server.url}/v1", websocket_base_url=f"ws{server.url.removeprefix('http')}/v1"
    )
    events = []

    async def send(connection: Any) -> None:
        for at in range(0, len(pcm), 4_800):
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + 4_800]).decode())
        await connection.response.create()
        await connection.input_audio_buffer.commit()
        await connection.input_audio_buffer.clear()

    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": TIGHT}}})
        sending = asyncio.create_task(send(connection))
        while not events or events[-1]["type"] != "input_audio_buffer.cleared":
            event = await asyncio.wait_for(connection.recv(), PATIENCE_S)
            events.append(event.to_dict())
        await sending
    await client.close()
    return events


JAVASCRIPT = """
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'

const [, , port, folder] = process.argv
const read = (name) => readFileSync(`${folder}/${name}`)
const pcm = read('sound.pcm')

// The client speaks TLS alone, so a proxy stands before the service, as it does in the field.
const proxy = tls.createServer({ key: read('key.pem'), cert: read('cert.pem') }, (socket) => {
  socket.on('error', () => {})
  const service = net.connect(port, '127.0.0.1').on('error', () => {})
  socket.pipe(service).pipe(socket)
})
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
const client = new OpenAI({ apiKey: 'unused', baseURL: `https://localhost:${proxy.address().port}/v1` })
const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime' }, client)
const events = []
realtime.on('error', () => {}) // told with the others
realtime.on('event', (event) => {
  events.push(event)
  if (event.type === 'input_audio_buffer.cleared') {
    console.log(JSON.stringify(events))
    realtime.close()
    proxy.close()
  }
})
realtime.socket.on('open', () => {
  realtime.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: TIGHT } } } })
  for (let at = 0; at < pcm.length; at += 4800) {
    realtime.send({ type: 'input_audio_buffer.append', audio: pcm.subarray(at, at + 4800).toString('base64') })
  }
  realtime.send({ type: 'response.create' })
  realtime.send({ type: 'input_audio_buffer.commit' })
  realtime.send({ type: 'input_audio_buffer.clear' })
})
"""


def certify(folder: Path) -> None:
    """A certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def with_javascript(server: RunningServer, pcm: bytes, folder: Path) -> list[dict[str, Any]]:
    (folder / "sound.pcm").write_bytes(pcm)
    certify(folder)
    ended = subprocess.run(
        [*node_with("openai", "ws"), str(server.port), str(folder)],
        input=JAVASCRIPT.replace("TIGHT", json.dumps(TIGHT)), cwd=NODE,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(folder / "cert.pem")},
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    events: list[dict[str, Any]] = json.loads(ended.stdout)
    return events


def check(server: RunningServer, events: list[dict[str, Any]], pcm: bytes) -> None:
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    errors = [event["error"]["code"] for event in events if event["type"] == "error"]
    assert errors == ["unsupported_event"]
    assert turns(events) == file_pairs(server, wav(pcm, RATE), **SAME) != []


async def test_python(server: RunningServer) -> None:
    check(server, await with_python(server, PCM), PCM)


def test_javascript(server: RunningServer, tmp_path: Path) -> None:
    check(server, with_javascript(server, PCM, tmp_path), PCM)


@pytest.mark.reference
async def test_python_hears_the_published_models_turns(published_server: RunningServer, reference: Path) -> None:
    pcm = spoken(reference)
    check(published_server, await with_python(published_server, pcm), pcm)


@pytest.mark.reference
def test_javascript_hears_the_published_models_turns(
    published_server: RunningServer, reference: Path, tmp_path: Path
) -> None:
    pcm = spoken(reference)
    check(published_server, with_javascript(published_server, pcm, tmp_path), pcm)
