"""Streams that send faster than they are scored, and samples that are no sound."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from websockets.asyncio.client import connect

from app.server import serve
from app.vad.blocks import Block, Scored
from app.vad.models.fsmn.network import FsmnScorer
from tests.live.client import converse, cut, f32, file_pairs, hear_all, s16, say, stream, url_of, wav
from tests.server import RunningServer, local_server
from tests.signals import bursts


@pytest.fixture
def pinging(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server that asks all the time whether its peer lives, and that is slow, as on a machine that is busy."""
    made = serve.server_config

    def config(*given: object) -> uvicorn.Config:
        settings = made(*given)  # type: ignore[arg-type]
        settings.ws_ping_interval = settings.ws_ping_timeout = 0.3
        return settings

    score = FsmnScorer.score

    def slowly(self: FsmnScorer, work: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        time.sleep(0.05)
        return score(self, work)

    monkeypatch.setattr("tests.server.server_config", config)
    monkeypatch.setattr(FsmnScorer, "score", slowly)
    settings = {"VAD_WORKERS": "1", "VAD_STREAM_BUFFER_S": "1"}
    with local_server(small_model, tmp_path, settings) as server:
        yield server


def test_a_busy_machine_takes_nobody_for_dead(pinging: RunningServer) -> None:
    """Pongs stand behind audio that is not read, because a stream that has enough waiting is not read from."""
    signal = bursts(40.0, [(start, start + 1.0) for start in range(1, 39, 3)])
    chunks, expected = cut(s16(signal), 3_200), file_pairs(pinging, wav(s16(signal)))

    async def one() -> list[list[int]]:
        async with connect(url_of(pinging), max_queue=None, ping_interval=None) as socket:
            for chunk in chunks:
                await socket.send(chunk)
            await socket.send('{"type": "end"}')
            messages = [json.loads(message) async for message in socket]
        assert socket.close_code == 1000, socket.close_reason
        return [[told["start_ms"], told["end_ms"]] for told in messages if told["type"] == "speech_end"]

    async def all_of_them() -> list[list[list[int]]]:
        return await asyncio.gather(*(one() for _ in range(4)))

    assert asyncio.run(all_of_them()) == [expected] * 4


@pytest.mark.parametrize("sample", [1e20, -3e38, float("nan"), float("inf"), 2e6])
def test_samples_that_are_no_sound_end_the_stream_as_they_end_a_file(server: RunningServer, sample: float) -> None:
    signal = bursts(2.0, [(0.5, 1.5)]).astype(np.float32)
    with stream(server, encoding="f32le") as socket:
        socket.send(f32(signal))
        socket.send(f32(np.full(16_000, sample, dtype=np.float32)))
        socket.send(f32(signal))
        say(socket, "end")
        heard = hear_all(socket)
    assert (heard.code, heard.error["code"]) == (1007, "invalid_audio")


def test_loud_samples_within_bounds_deafen_nobody(server: RunningServer) -> None:
    loud, signal = np.full(16_000, 9e5, dtype=np.float32), bursts(3.0, [(1.0, 2.0)]).astype(np.float32)
    heard = converse(server, [f32(loud), *cut(f32(signal), 6_400)], encoding="f32le")
    assert heard.done["segments"], "what comes after it is still heard"
