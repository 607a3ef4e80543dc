"""Query and form are one request: judged as a whole, in the same words, and before the body where that can be."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.raw import answer_of, connect, problem_of, request, status_of
from tests.server import RunningServer


def ask(server: RunningServer, audio: Path, query: dict[str, str], form: dict[str, str]) -> httpx.Response:
    return server.post("/vad", params=query, data=form, files={"file": (audio.name, audio.read_bytes())})


def told(response: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in response.json().items() if name != "request_id"}


@pytest.mark.parametrize(
    ("query", "form"),
    [
        ({"model": "nope"}, {"model": "small-model0"}),
        ({"max_end_silence_time": "500"}, {"mode": "endpoint"}),
        ({"mode": "tight", "threshold": "0.6"}, {"mode": "tight", "neg_threshold": "0.2"}),
        ({"mode": "nope"}, {"mode": "tight"}),
        ({"channel": "nine"}, {"channel": "0"}),
        ({"format": "nope"}, {"format": "json"}),
        ({"preset": "nope"}, {"preset": "none"}),
        ({"keep": "perhaps"}, {"keep": "true"}),
    ],
    ids=str,
)
def test_the_form_wins_over_what_is_wrong_in_the_query(
    server: RunningServer, speech_like: Path, query: dict[str, str], form: dict[str, str]
) -> None:
    assert ask(server, speech_like, query, form).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"model": "nope"},
        {"mode": "nope"},
        {"threshold": "0.6"},
        {"tresholdd": "1"},
        {"max_end_silence_time": "5000000"},
        {"channel": "nine"},
        {"format": "nope"},
        {"preset": "nope"},
        {"keep": "perhaps"},
        {"track": "-1"},
        {"encoding": "nope"},
        {"encoding": "webm"},
        {"confirm_ms": "100"},
        {"session": "abc"},
        {"sample_rate": "8000"},
        {"segmenter_options": "x"},
    ],
    ids=str,
)
def test_a_refusal_has_the_same_words_in_the_query_in_a_form_and_for_a_raw_body(
    server: RunningServer, speech_like: Path, options: dict[str, str]
) -> None:
    content = speech_like.read_bytes()
    answers = [
        ask(server, speech_like, options, {}),
        ask(server, speech_like, {}, options),
        server.post("/vad", params=options, content=content),
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert told(answers[0]) == told(answers[1]) == told(answers[2])
    assert answers[0].json()["option"] == next(iter(options))


@pytest.mark.parametrize("options", ["model=nope", "format=nope", "keep=perhaps", "tresholdd=1", "sample_rate=8000"])
def test_a_raw_bodys_request_is_refused_before_its_body(server: RunningServer, options: str) -> None:
    with connect(server) as connection:
        connection.sendall(request(f"/vad?{options}", length=100_000))
        refused = answer_of(connection)
    assert (status_of(refused), problem_of(refused)["code"]) == (422, "invalid_option")


def test_a_mistyped_name_in_the_query_is_refused_before_a_form(server: RunningServer) -> None:
    head = b"POST /vad?treshold=0.5 HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with connect(server) as connection:
        connection.sendall(head + b"Content-Length: 100000\r\n\r\n--x\r\n")
        refused = problem_of(answer_of(connection))
    assert refused["option"] == "treshold"
    assert refused["detail"] == "treshold: there is no such option; did you mean threshold?"


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_fields_are_absent_ones(server: RunningServer, speech_like: Path, blank: str) -> None:
    names = ("model", "preset", "mode", "format", "channel", "track", "keep", "max_chunk_s", "threshold")
    everything = dict.fromkeys(names, blank)
    assert ask(server, speech_like, everything, everything).status_code == 200
    # A blank field of the form does not undo what the query says.
    csv = ask(server, speech_like, {"format": "csv"}, everything)
    assert csv.headers["content-type"].startswith("text/csv")


def test_a_file_shorter_than_a_millisecond_has_a_curve(server: RunningServer) -> None:
    params = {"encoding": "pcm_s16le", "sample_rate": "16000", "keep": "true"}
    kept = server.post("/vad", params=params, content=b"\0\0").json()
    assert kept["audio"]["duration_ms"] == 0
    curve = server.get(f"/analyses/{kept['analysis_id']}/curve")
    assert (curve.status_code, curve.json()["probabilities"]) == (200, [])
