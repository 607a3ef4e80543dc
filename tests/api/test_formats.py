"""Each form of answer over HTTP, as its readers see it; channels, probabilities, several files in one call."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from app.formats.registry import Formats
from tests.formats.readers import LABELS, READERS
from tests.server import RunningServer, local_server
from tests.signals import bursts

FORMATS = Formats()
TEXTS = list(READERS)
STREAMED = ("ndjson", "wav", "zip")


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def two_voices() -> bytes:
    """Stereo WAV: the left side is loud from 1 to 2 s, the right one from 5 to 7 s."""
    sides = bursts(9.0, [(1.0, 2.0)], seed=1), bursts(9.0, [(5.0, 7.0)], seed=2)
    return wav_bytes(np.stack(sides, axis=1), 16_000)


def wav_bytes(samples: np.ndarray[Any, Any], rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def times(document: dict[str, Any]) -> list[tuple[int, int]]:
    return [(item["start_ms"], item["end_ms"]) for item in document["segments"]]


def answer(client: httpx.Client, content: bytes, **params: str) -> Any:
    response = client.post("/vad", content=content, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def refusal(response: httpx.Response, option: str) -> str:
    """The detail of the problem that names `option`."""
    document: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["status"], document["code"]) == (422, 422, "invalid_option")
    assert document["detail"].startswith(f"{option}: ")
    return str(document["detail"])


def upload(path: Path, name: str = "meeting one.wav") -> dict[str, tuple[str, bytes]]:
    return {"file": (name, path.read_bytes())}


def assert_two_bursts(segments: list[tuple[int, int]]) -> None:
    assert len(segments) == 2
    for (start, end), (loud, quiet) in zip(segments, [(2000, 4000), (6000, 8000)], strict=True):
        assert loud - 500 <= start <= loud
        assert quiet <= end <= quiet + 500


def test_json(client: httpx.Client, speech_like: Path) -> None:
    response = client.post("/vad", files=upload(speech_like))
    document = response.json()
    assert response.headers["content-type"] == "application/json"
    assert_two_bursts(times(document))
    assert document["name"] == "meeting_one"
    assert document["audio"] == {
        "duration_ms": 10_000, "sample_rate": 16_000, "channels": 1, "format": "WAV", "subtype": "PCM_16",
        "truncated": False, "file_name": "meeting one.wav",
    }  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("by", ["format", "field", "accept"])
def test_text_formats(client: httpx.Client, speech_like: Path, name: str, by: str) -> None:
    expected = times(client.post("/vad", files=upload(speech_like)).json())
    response = client.post(
        "/vad",
        files=upload(speech_like),
        params={"format": name} if by == "format" else {},
        data={"format": name} if by == "field" else {},
        headers={"Accept": FORMATS[name].media_type.split(";")[0]} if by == "accept" else {},
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == FORMATS[name].media_type
    assert response.headers["content-disposition"].endswith(f"UTF-8''meeting_one.{FORMATS[name].extension}")
    assert READERS[name](response.text) == [(start, end, LABELS[name][0]) for start, end in expected]


@pytest.mark.parametrize("name", STREAMED)
def test_accept_chooses_what_is_streamed(client: httpx.Client, speech_like: Path, name: str) -> None:
    response = client.post("/vad", files=upload(speech_like), headers={"Accept": FORMATS[name].accepted[0]})
    assert (response.status_code, response.headers["content-type"]) == (200, FORMATS[name].media_type)


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xml;q=0.9,*/*;q=0.8", ""])
def test_anyone_else_gets_json(client: httpx.Client, speech_like: Path, accept: str) -> None:
    response = client.post("/vad", files=upload(speech_like), headers={"Accept": accept})
    assert response.headers["content-type"] == "application/json"
    assert_two_bursts(times(response.json()))


def test_funasr(client: httpx.Client, speech_like: Path) -> None:
    document = client.post("/vad?format=funasr", files=upload(speech_like)).json()
    assert [entry["key"] for entry in document] == ["meeting_one"]
    assert_two_bursts([(start, end) for start, end in document[0]["value"]])


@pytest.mark.parametrize(("lang", "heading"), [(None, "片段序号"), ("zh", "片段序号"), ("en", "Segment")])
def test_markdown_speaks_the_language_asked_for(
    client: httpx.Client, speech_like: Path, lang: str | None, heading: str
) -> None:
    params = {"format": "md"} | ({"lang": lang} if lang else {})
    text = client.post("/vad", content=speech_like.read_bytes(), params=params).text
    assert text.startswith(f"| {heading} |")


@pytest.mark.parametrize("name", ["xml", "JSON"])
def test_an_unknown_format_is_refused(client: httpx.Client, speech_like: Path, name: str) -> None:
    response = client.post("/vad", params={"format": name}, content=speech_like.read_bytes())
    assert "textgrid" in refusal(response, "format")


@pytest.mark.parametrize(
    "filename", ["../../../etc/passwd", "a\\b\\..\\c.wav", "语音.wav", "x" * 500, "%0d%0aX: y.wav"]
)
def test_hostile_file_names_stay_in_their_place(client: httpx.Client, speech_like: Path, filename: str) -> None:
    response = client.post("/vad?format=rttm", files=upload(speech_like, filename))
    assert len(READERS["rttm"](response.text)) == 2
    disposition = response.headers["content-disposition"]
    assert disposition.isascii()
    assert not set(disposition.split("''")[1]) & set('/\\\r\n:;" ')


@pytest.mark.parametrize("name", [*TEXTS, "funasr", *STREAMED])
def test_silence_is_an_answer_without_segments(client: httpx.Client, name: str) -> None:
    response = client.post("/vad", params={"format": name}, content=wav_bytes(bursts(3.0, []), 16_000))
    assert response.status_code == 200
    if name in READERS:
        assert READERS[name](response.text) == []


@pytest.mark.parametrize("name", FORMATS.names)
@pytest.mark.parametrize("frames", [1, 399, 400])
def test_less_than_a_frame_or_two_is_an_answer_too(client: httpx.Client, name: str, frames: int) -> None:
    content = wav_bytes(np.zeros((frames, 2), dtype=np.float32), 16_000)
    response = client.post("/vad", params={"format": name}, content=content)
    assert response.status_code == 200
    if name in READERS:
        assert READERS[name](response.text) == []


def test_channels_apart_and_alone(client: httpx.Client, two_voices: bytes) -> None:
    split = answer(client, two_voices, channel="split")
    assert [item["channel"] for item in split["segments"]] == [0, 1]
    (left, right), both = times(split), times(answer(client, two_voices))
    assert (left[0] <= 1000, 2000 <= left[1] < 5000) == (True, True)
    assert (4500 <= right[0] <= 5000, right[1] >= 7000) == (True, True)
    assert len(both) == 2
    assert [(entry["channel"], entry["segment_count"]) for entry in split["channels"]] == [(0, 1), (1, 1)]
    for channel, voice in enumerate((left, right)):
        alone = answer(client, two_voices, channel=str(channel))
        assert (times(alone), alone["segments"][0]["channel"]) == ([voice], channel)


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_tells_channels_apart(client: httpx.Client, two_voices: bytes, name: str) -> None:
    split = times(answer(client, two_voices, channel="split"))
    response = client.post("/vad", params={"format": name, "channel": "split"}, content=two_voices)
    expected = [(start, end, LABELS[name][1].format(number)) for number, (start, end) in enumerate(split)]
    assert READERS[name](response.text) == expected


@pytest.mark.parametrize("name", [form.name for form in FORMATS if form.takes_several])
def test_several_files_lose_no_channel(client: httpx.Client, two_voices: bytes, name: str) -> None:
    """Whatever holds the answers to several files, it has each file's own whole answer in it."""
    form, params = FORMATS[name], {"format": name, "channel": "split"}
    files = [("file", (filename, two_voices)) for filename in ("one.wav", "two.wav")]
    one, two = (client.post("/vad", params=params, files=[file]) for file in files)
    both = client.post("/vad", params=params, files=files)
    assert both.status_code == 200, both.text
    if form.entries is None and form.together is None:
        with zipfile.ZipFile(io.BytesIO(both.content)) as archive:
            assert [archive.read(each) for each in archive.namelist()] == [one.content, two.content]
    elif name == "csv":
        lines = [f"{name},{line}" for name, text in (("one", one), ("two", two)) for line in text.text.split()[1:]]
        assert both.text.split()[1:] == lines
    elif form.together is not None:
        assert both.text == one.text + two.text
    elif name == "json":
        assert [each["segments"] for each in both.json()] == [each.json()["segments"] for each in (one, two)]
        assert [len(each["channels"]) for each in both.json()] == [2, 2]
    elif name in ("funasr", "labelstudio"):  # whose own form is a list of independent entries
        assert both.json() == [*one.json(), *two.json()]
    else:
        assert both.json() == [one.json(), two.json()]


def test_several_files_lose_no_channel_as_funasr_names_them(client: httpx.Client, two_voices: bytes) -> None:
    files = [("file", (filename, two_voices)) for filename in ("one.wav", "bad.wav", "two.wav")]
    files[1] = ("file", ("bad.wav", b"no audio"))
    entries = client.post("/vad?format=funasr&channel=split", files=files).json()
    keys = [entry.get("key") or entry["code"] for entry in entries]
    assert keys == ["one-ch0", "one-ch1", "unsupported_audio", "two-ch0", "two-ch1"]


def test_files_of_one_name_are_each_in_the_zip(client: httpx.Client, two_voices: bytes, speech_like: Path) -> None:
    contents = [two_voices, speech_like.read_bytes(), two_voices, two_voices]
    names = ["a.wav", "a.flac", "a-2.wav", "A.wav"]
    files = [("file", (name, content)) for name, content in zip(names, contents, strict=True)]
    answer = client.post("/vad?format=srt", files=files)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a.srt", "a-3.srt", "a-2.srt", "A-4.srt"]
        expected = [client.post("/vad?format=srt", content=content).content for content in contents]
        assert [archive.read(name) for name in archive.namelist()] == expected


def test_lines_of_one_text_tell_files_of_one_name_apart(client: httpx.Client, speech_like: Path) -> None:
    files = [("file", ("a.wav", speech_like.read_bytes())) for _ in range(2)]
    rows = client.post("/vad?format=csv", files=files).text.splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["a", "a", "a-2", "a-2"]
    rttm = client.post("/vad?format=rttm", files=files).text
    assert [line.split()[1] for line in rttm.splitlines()] == ["a", "a", "a-2", "a-2"]


def test_a_channel_that_is_not_there_is_refused(client: httpx.Client, two_voices: bytes) -> None:
    detail = refusal(client.post("/vad?channel=2", content=two_voices), "channel")
    assert "2 channels" in detail
    for wrong in ("8", "-1", "left"):
        refusal(client.post("/vad", params={"channel": wrong}, content=two_voices), "channel")


def test_probabilities_one_for_each_frame(client: httpx.Client, speech_like: Path, two_voices: bytes) -> None:
    values = answer(client, speech_like.read_bytes(), probabilities="true")["probabilities"]
    assert values["frame_ms"] == 10
    # 25 ms windows every 10 ms, of which the first hears from the very first sample.
    assert len(values["values"]) == (10_000 - 25) // 10 + 1
    assert all(0 <= value <= 1 for value in values["values"])
    loud, quiet = np.mean(values["values"][250:350]), np.mean(values["values"][50:150])
    assert loud > 0.5 > quiet
    split = answer(client, two_voices, probabilities="true", channel="split")
    assert [len(entry["probabilities"]["values"]) for entry in split["channels"]] == [898, 898]
    assert "probabilities" not in answer(client, two_voices)


def test_probabilities_of_long_audio_are_refused(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_MAX_PROBABILITY_MINUTES": "0.1", "VAD_BLOCK_SECONDS": "2"}
    with local_server(small_model, tmp_path, settings) as server, server.client() as client:
        enough, over = (wav_bytes(bursts(seconds, [(1.0, 3.0)]), 16_000) for seconds in (6.0, 6.1))
        assert len(answer(client, enough, probabilities="true")["probabilities"]["values"]) == 598
        response = client.post("/vad?probabilities=true", content=over)
        assert "0.1 minutes" in refusal(response, "probabilities")
        assert len(times(answer(client, over))) == 1
        # Lines that have been sent stay sent: the problem is the last one, and there is no summary.
        lines = client.post("/vad?probabilities=true&format=ndjson", content=over).text.splitlines()
        kinds = [json.loads(line)["type"] for line in lines]
        assert (kinds.count("segment"), kinds[-1], kinds.count("summary")) == (1, "error", 0)
        assert json.loads(lines[-1])["code"] == "invalid_option"


@pytest.mark.parametrize("name", ["json", "funasr"])
def test_one_bad_file_spoils_no_other(client: httpx.Client, speech_like: Path, name: str) -> None:
    good = speech_like.read_bytes()
    files = [("file", (f"{stem}.wav", data)) for stem, data in [("a", good), ("b", b"not audio"), ("c", good)]]
    response = client.post("/vad", params={"format": name}, files=files)
    first, problem, last = response.json()
    assert response.status_code == 200
    assert (problem["name"], problem["status"], problem["code"]) == ("b", 415, "unsupported_audio")
    for stem, document in (("a", first), ("c", last)):
        assert document["key" if name == "funasr" else "name"] == stem
        assert_two_bursts([(s, e) for s, e in document["value"]] if name == "funasr" else times(document))


def test_several_files_want_a_format_that_holds_them(client: httpx.Client, speech_like: Path) -> None:
    files = [("file", (f"{stem}.wav", speech_like.read_bytes())) for stem in "ab"]
    for name in STREAMED:
        assert name in refusal(client.post("/vad", params={"format": name}, files=files), "format")
