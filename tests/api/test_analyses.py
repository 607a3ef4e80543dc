"""`/analyses/{id}`: kept posteriors under other options, in other forms, and as a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.formats.registry import FORMATS
from tests.api.raw import ANN, BOB, CY
from tests.api.test_admission import post
from tests.api.test_formats import wav_bytes
from tests.formats.readers import LABELS, READERS
from tests.server import RunningServer, local_server
from tests.signals import bursts


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def kept(client: httpx.Client, speech_like: Path) -> str:
    """The id of an analysis."""
    answer = client.post("/vad?keep=true", files={"file": ("meeting one.wav", speech_like.read_bytes())})
    return str(answer.json()["analysis_id"])


def without_what_differs(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("request_id", "timing", "analysis_id")}


@pytest.mark.parametrize(
    "options",
    [{}, {"max_end_silence_time": "2500"}, {"mode": "tight"}, {"mode": "tight", "speech_pad_ms": "200"}],
    ids=str,
)
def test_the_segments_are_those_that_the_file_would_have_got(
    client: httpx.Client, kept: str, speech_like: Path, options: dict[str, str]
) -> None:
    again = client.get(f"/analyses/{kept}/segments", params=options).json()
    files = {"file": ("meeting one.wav", speech_like.read_bytes())}
    anew = client.post("/vad", params=options, files=files).json()
    assert again["segments"]
    assert without_what_differs(again) == without_what_differs(anew)
    assert again["analysis_id"] == kept


def test_another_mode_and_back(client: httpx.Client, kept: str) -> None:
    first, tight, last = (
        client.get(f"/analyses/{kept}/segments", params={"mode": mode}).json()
        for mode in ("endpoint", "tight", "endpoint")
    )
    assert first["segments"] == last["segments"] != tight["segments"]
    assert first["options"] == last["options"]
    assert "threshold" in tight["options"]
    assert "threshold" not in first["options"]


@pytest.mark.parametrize("name", READERS)
def test_text_formats(client: httpx.Client, kept: str, name: str) -> None:
    expected = client.get(f"/analyses/{kept}/segments").json()["segments"]
    answer = client.get(f"/analyses/{kept}/segments", params={"format": name})
    (form,) = [form for form in FORMATS if form.name == name]
    assert answer.headers["content-type"] == form.media_type
    assert answer.headers["content-disposition"] == f"inline; filename*=UTF-8''meeting_one.{form.extension}"
    assert READERS[name](answer.text) == [(each["start_ms"], each["end_ms"], LABELS[name][0]) for each in expected]


def test_the_name_of_a_json_answer(client: httpx.Client, kept: str) -> None:
    answer = client.get(f"/analyses/{kept}/segments")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''meeting_one.json"


@pytest.mark.parametrize("name", ["wav", "zip", "ndjson"])
def test_forms_that_need_the_audio_are_refused(client: httpx.Client, kept: str, name: str) -> None:
    answer = client.get(f"/analyses/{kept}/segments", params={"format": name})
    assert (answer.status_code, answer.json()["option"]) == (422, "format")
    assert "/vad" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"threshold": "0.5"}, "threshold"),
        ({"mode": "tight", "do_extend": "true"}, "do_extend"),
        ({"mode": "loose"}, "mode"),
        ({"model": "nobody"}, "model"),
        ({"format": "doc"}, "format"),
    ],
)
def test_wrong_options_are_named(client: httpx.Client, kept: str, options: dict[str, str], named: str) -> None:
    answer = client.get(f"/analyses/{kept}/segments", params=options)
    assert (answer.status_code, answer.json()["code"], answer.json()["option"]) == (422, "invalid_option", named)


def test_another_models_segments_need_the_audio(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    with local_server(f"room={small_model}", tmp_path, {"VAD_MODELS": "silero"}) as server, server.client() as client:
        kept = client.post("/vad?keep=true&model=silero", content=speech_like.read_bytes()).json()["analysis_id"]
        path = f"/analyses/{kept}/segments"
        assert client.get(path).json()["model"]["name"] == "silero"
        assert client.get(f"{path}?model=silero").json()["options"]["mode"] == "tight"
        refusal = client.get(f"{path}?model=room")
        assert (refusal.status_code, refusal.json()["option"]) == (422, "model")
        assert "silero" in refusal.json()["detail"]


def test_nobody_has_an_id_that_was_made_up(client: httpx.Client) -> None:
    for what in ("segments", "curve"):
        answer = client.get(f"/analyses/made-up/{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_analysis")


def test_only_so_many_are_kept_and_none_where_there_is_no_room(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    content = speech_like.read_bytes()
    with local_server(small_model, tmp_path / "two", {"VAD_MAX_ANALYSES": "2"}) as server, server.client() as client:
        ids = [client.post("/vad?keep=true", content=content).json()["analysis_id"] for _ in range(3)]
        assert [client.get(f"/analyses/{each}/segments").status_code for each in ids] == [404, 200, 200]
    with local_server(small_model, tmp_path / "none", {"VAD_ANALYSES_MB": "0"}) as server, server.client() as client:
        assert client.post("/vad?keep=true", content=content).json()["analysis_id"] is None
        lines = client.post("/vad?keep=true&format=ndjson", content=content).text.splitlines()
        assert '"analysis_id":null' in lines[-1]


def test_one_who_keeps_many_costs_nobody_else_his(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    content = speech_like.read_bytes()
    with local_server(small_model, tmp_path, {"VAD_MAX_ANALYSES": "8"}) as server:

        def keep(client: str) -> str:
            answer = post(server, content, client, "/vad?keep=true")
            return str(answer.json()["analysis_id"])

        def there(identifier: str, client: str) -> bool:
            with httpx.Client(transport=httpx.HTTPTransport(local_address=client)) as sender:
                return sender.get(f"{server.url}/analyses/{identifier}/segments").status_code == 200

        bobs, anns = keep(BOB), [keep(ANN) for _ in range(20)]
        assert there(bobs, BOB)
        assert not there(bobs, ANN)
        assert [there(each, ANN) for each in anns] == [False] * 14 + [True] * 6, "an eighth is for newcomers"
        cys = [keep(CY) for _ in range(3)]
        assert all(there(each, CY) for each in cys)
        assert there(bobs, BOB)
        assert [there(each, ANN) for each in anns[14:]] == [True] * 4 + [False] * 2, "her newest made room"


def test_the_curve_of_a_stretch(client: httpx.Client, kept: str) -> None:
    whole = client.get(f"/analyses/{kept}/curve", params={"points": "20000"}).json()
    assert (whole["frame_ms"], whole["duration_ms"]) == (10, 10_000)
    assert len(whole["probabilities"]) == len(whole["peaks"]) == 998
    part = client.get(f"/analyses/{kept}/curve?start_ms=2000&end_ms=4000&points=10").json()
    assert len(part["probabilities"]) == len(part["peaks"]) == 10
    assert min(part["probabilities"]) > 0.5
    assert max(whole["probabilities"][:100]) < 0.5
    for wrong in ({"points": "0"}, {"points": "20001"}, {"start_ms": "-1"}, {"start_ms": "5", "end_ms": "5"}):
        assert client.get(f"/analyses/{kept}/curve", params=wrong).status_code == 422


def test_what_needs_the_audio_is_refused_and_the_rest_is_answered(client: httpx.Client, kept: str) -> None:
    for name, value in {"channel": "split", "track": "3", "clock": "container", "format": "wav"}.items():
        refused = client.get(f"/analyses/{kept}/segments", params={name: value})
        assert (refused.status_code, refused.json()["option"]) == (422, name)
    assert client.get(f"/analyses/{kept}/segments", params={"channel": "mix", "clock": "samples"}).status_code == 200


@pytest.mark.parametrize("channel", ["mix", "split", "1"])
def test_probabilities_of_kept_posteriors_are_those_of_the_file(client: httpx.Client, channel: str) -> None:
    two_voices = wav_bytes(np.stack([bursts(9.0, [(1.0, 2.0)]), bursts(9.0, [(5.0, 7.0)])], axis=1), 16_000)
    asked = {"channel": channel, "probabilities": "true", "members": "true"}
    anew = client.post("/vad", params={**asked, "keep": "true"}, content=two_voices).json()
    again = client.get(f"/analyses/{anew['analysis_id']}/segments", params=asked).json()
    assert without_what_differs(again) == without_what_differs(anew)
    assert "values" in str(again)
