"""`protocol=funasr`: what FunASR's own clients send is understood."""

import json

from tests.live.client import converse, cut, file_pairs, hear_all, s16, stream, wav
from tests.server import RunningServer
from tests.signals import bursts

PCM = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]))
CHUNKS = cut(PCM, 3_200)
FLUSH = '{"type": "flush"}'


def test_what_funasrs_own_client_sends(server: RunningServer) -> None:
    """Its public client says first how it will speak, then sends PCM in 60 ms pieces, then that it is done."""
    hello = {
        "mode": "2pass", "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4,
        "decoder_chunk_look_back": 0, "audio_fs": 16_000, "wav_name": "microphone", "wav_format": "pcm",
        "is_speaking": True, "hotwords": "", "itn": True,
    }  # fmt: skip
    with stream(server, protocol="funasr") as socket:
        socket.send(json.dumps(hello))
        for chunk in cut(PCM, 1_920):
            socket.send(chunk)
        socket.send(json.dumps({"is_speaking": False}))
        heard = hear_all(socket)
    *answers, last = heard.messages
    expected = file_pairs(server, wav(PCM))
    assert answers == [[pair] for start, end in expected for pair in ([start, -1], [-1, end])]
    assert last.items() >= {"mode": "vad", "is_final": True, "text": "", "value": expected}.items()
    assert heard.code == 1000


def test_our_own_messages_are_taken_there_too(server: RunningServer) -> None:
    heard = converse(server, [*CHUNKS[:30], FLUSH, *CHUNKS[30:]], protocol="funasr")
    assert len(heard.messages[-1]["value"]) == 3


def test_the_rate_that_its_client_names_holds(server: RunningServer) -> None:
    samples = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)], rate=8_000)
    with stream(server, protocol="funasr") as socket:
        socket.send(json.dumps({"mode": "online", "audio_fs": 8_000, "is_speaking": True}))
        for chunk in cut(s16(samples), 960):
            socket.send(chunk)
        socket.send(json.dumps({"is_speaking": False}))
        heard = hear_all(socket)
    assert heard.messages[-1]["value"] == file_pairs(server, wav(s16(samples), 8_000))


def test_a_rate_that_comes_late_or_cannot_be_is_refused(server: RunningServer) -> None:
    for first, rate in ((CHUNKS[0], 8_000), (None, 1), (None, "fast")):
        with stream(server, protocol="funasr") as socket:
            if first is not None:
                socket.send(first)
            socket.send(json.dumps({"audio_fs": rate, "is_speaking": True}))
            heard = hear_all(socket)
        assert heard.messages[-1]["code"] == "invalid_option"
        assert heard.code == 1008
