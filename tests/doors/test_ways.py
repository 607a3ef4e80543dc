"""Other ways to say the same: names of files, values said twice, what headers say, several files, standard input, and
what the settings lay under every request."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from app.batch.local import LocalRun
from app.registry import installed
from app.vad.segmenters.registry import MODE
from tests.doors.doors import agree, comparable, differences, flags, fresh_folder, over_http_raw, run_command
from tests.doors.house import NAMES, SILERO, House
from tests.server import local_server

Options = dict[str, str]
IN_PROCESSES = LocalRun
"""A batch's own run over shards, in whose place the house has one in this process."""


def post(house: House, path: str = "/vad", sounds: str = "one", **more: Any) -> Any:
    """What the answer to the set's first file has to say of it."""
    answer = house.server.post(path, content=house.files(sounds)[0].read_bytes(), **more)
    return comparable("json", answer.content, {})


# ---- names


def test_a_file_has_one_name_at_every_door(house: House) -> None:
    agree(house, {}, ["json"], "names")
    found = over_http_raw(house, {}, ["json"], "names")
    assert len(found) == len(NAMES)
    assert all(said.answer["name"] for said in found.values())


def test_a_name_behind_the_slash_is_as_good(house: House) -> None:
    for name in NAMES:
        answer = house.server.request("PUT", f"/vad/{quote(name, safe='')}", content=house.files("one")[0].read_bytes())
        put = comparable("json", answer.content, {})
        header = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        assert put == post(house, headers=header), name


def test_standard_input_is_a_file_like_any_other(house: House) -> None:
    content = house.files("one")[0].read_bytes()
    alone, through = (
        run_command(house, "detect", "-", "--format=csv", *service, alone=not service, stdin=content)
        for service in ([], ["--url", house.server.url])
    )
    assert alone == through
    served = house.server.post("/vad?format=csv", content=content)
    assert alone.stdout == served.text


# ---- the terminal


@pytest.mark.parametrize("form", [form.name for form in installed().formats if not form.needs_audio])
def test_standard_output_is_what_the_service_answers(house: House, form: str) -> None:
    """Byte for byte in text; one newline is added where none ends it, and JSON may be indented."""
    path = house.files("speech")[0]
    (served,) = {
        file: said for (file, _), said in over_http_raw(house, {}, [form], "speech").items() if file == path.name
    }.values()
    for service in ([], ["--url", house.server.url]):
        ended = run_command(house, "detect", path, f"--format={form}", *service, alone=not service)
        assert ended.returncode == 0
        written = ended.stdout.encode()
        assert written.endswith(b"\n")
        if form in ("json", "ndjson"):
            assert comparable(form, written, {}) == served.answer
        elif served.answer[:1] in b"[{" and form != "lhotse":
            assert json.loads(written) == json.loads(served.answer)
        else:
            assert written in (served.answer, served.answer + b"\n")


def test_several_files_on_standard_output_are_those_of_each(house: House) -> None:
    paths = house.files("speech")
    expected = over_http_raw(house, {}, ["json"], "speech")
    for service in ([], ["--url", house.server.url]):
        ended = run_command(house, "detect", *paths, "--jobs=1", *service, alone=not service)
        lines = [comparable("json", line.encode(), {}) for line in ended.stdout.splitlines()]
        assert lines == [expected[path.name, "json"].answer for path in paths]


@pytest.mark.full
def test_workers_in_processes_of_their_own_answer_alike(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.batch.local.LocalRun", IN_PROCESSES)
    agree(
        house, {"preset": "asr", "channel": "split", "time_map": "true"}, installed().formats.names, "speech", ["batch"]
    )


# ---- said twice, said in headers


def unnamed(answer: dict[str, Any]) -> dict[str, Any]:
    """Without the file's own name, which a raw body and standard input have none of."""
    return {**answer, "audio": {key: value for key, value in answer["audio"].items() if key != "file_name"}}


def test_of_two_values_the_last_is_taken(house: House) -> None:
    content = house.files("one")[0].read_bytes()
    tight = {MODE: "tight", "threshold": "0.7"}
    expected = unnamed(post(house, params=tight))
    asked: list[dict[str, Any]] = [
        {"params": [(MODE, "endpoint"), ("threshold", "0.2"), *tight.items()]},
        {"params": [*tight.items(), ("threshold", "")]},
    ]
    assert [unnamed(post(house, **each)) for each in asked] == [expected, expected]
    forms: list[dict[str, Any]] = [
        {"data": {MODE: ["endpoint", "tight"], "threshold": ["0.2", "0.7"]}},
        {"data": {MODE: "tight", "threshold": ["0.7", " "]}},
        {"params": {MODE: "endpoint", "threshold": "0.2"}, "data": tight},
        {"params": tight, "data": {MODE: "", "threshold": ""}},
    ]
    answers = [house.server.post("/vad", files={"file": ("audio", content)}, **each) for each in forms]
    assert [unnamed(comparable("json", answer.content, {})) for answer in answers] == [expected] * len(forms)
    for service in ([], ["--url", house.server.url]):
        twice = ["--mode=endpoint", "--threshold=0.2", "--mode=tight", "--threshold=0.7"]
        ended = run_command(house, "detect", "-", *twice, *service, alone=not service, stdin=content)
        told = comparable("json", ended.stdout.encode(), {})
        assert unnamed({**told, "name": "audio"}) == expected


def test_fields_may_stand_before_or_behind_the_file(house: House) -> None:
    content = house.files("one")[0].read_bytes()
    fields = [("mode", (None, "tight")), ("threshold", (None, "0.7"))]
    file = ("file", ("audio", content))
    expected = unnamed(post(house, params={MODE: "tight", "threshold": "0.7"}))
    for parts in ([*fields, file], [file, *fields], [fields[0], file, fields[1]]):
        assert unnamed(comparable("json", house.server.post("/vad", files=parts).content, {})) == expected


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"), ("*/*", "json"), ("text/csv", "csv"), ("audio/wav;q=0.1, text/vtt", "vtt"),
        ("application/*", "json"),
    ],
)  # fmt: skip
def test_a_form_named_wins_over_accept(house: House, accept: str | None, form: str) -> None:
    headers = {} if accept is None else {"Accept": accept}
    content = house.files("one")[0].read_bytes()
    by_header = house.server.post("/vad", content=content, headers=headers)
    by_name = house.server.post("/vad", params={"format": form}, content=content)
    assert comparable(form, by_header.content, {}) == comparable(form, by_name.content, {})
    assert by_header.headers["content-type"] == by_name.headers["content-type"]
    for named in installed().formats.names[::5]:
        both = house.server.post("/vad", params={"format": named}, content=content, headers=headers)
        alone = house.server.post("/vad", params={"format": named}, content=content)
        assert comparable(named, both.content, {}) == comparable(named, alone.content, {})


@pytest.mark.parametrize(
    ("media_type", "options"),
    [
        ("audio/L16;rate=8000;channels=2", {"encoding": "pcm_s16be", "sample_rate": "8000", "channels": "2"}),
        ("audio/pcm; rate=8000; channels=2", {"encoding": "pcm_s16le", "sample_rate": "8000", "channels": "2"}),
        ("audio/basic", {"encoding": "mulaw"}),
        ("audio/PCMA;rate=16000", {"encoding": "alaw", "sample_rate": "16000"}),
    ],
)
def test_a_media_type_says_what_options_say(house: House, media_type: str, options: Options) -> None:
    content = house.files("bare")[0].read_bytes()
    by_type = house.server.post("/vad", content=content, headers={"Content-Type": media_type})
    part = house.server.post("/vad", files={"file": ("audio", content, media_type)})
    by_options = house.server.post("/vad", params=options, content=content)
    assert by_type.status_code == 200
    told = [unnamed(comparable("json", each.content, {})) for each in (by_type, part, by_options)]
    assert told[0] == told[1] == told[2]
    agree(house, options, ["json"], "bare")


# ---- several files


@pytest.mark.parametrize(
    "form", [form.name for form in installed().formats if form.takes_several and form.together is None]
)
def test_several_files_are_answered_as_each_alone(house: House, form: str) -> None:
    paths = house.files("speech")
    alone = {file: said.answer for (file, _), said in over_http_raw(house, {}, [form], "speech").items()}
    several = house.server.post(
        "/vad", params={"format": form}, files=[("file", (path.name, path.read_bytes())) for path in paths]
    )
    chosen = installed().formats[form]
    if form == "json":
        told = [comparable("json", json.dumps(each).encode(), {}) for each in several.json()]
        assert told == [alone[path.name] for path in paths]
    elif chosen.entries is not None:
        each = [json.loads(alone[path.name]) for path in paths]
        assert several.json() in (each, [entry for entries in each for entry in entries])
    else:
        members = comparable("zip", several.content, {})
        assert list(members.values()) == [alone[path.name] for path in paths]


# ---- settings


SETTINGS: dict[str, dict[str, str]] = {
    "a preset": {"VAD_PRESET": "labelling"},
    "options": {"VAD_DEFAULT_OPTIONS": '{"threshold": 0.8, "max_end_silence_time": 500, "max_chunk_s": 2}'},
    "a mode": {"VAD_DEFAULT_OPTIONS": '{"mode": "tight", "speech_pad_ms": 0}'},
    "both": {"VAD_PRESET": "subtitles", "VAD_DEFAULT_OPTIONS": '{"speech_pad_ms": 7, "merge_gap_ms": 50}'},
    **({"a sum": {"VAD_MODEL": "silero+silero-8k"}} if SILERO else {}),
    "short probabilities": {"VAD_MAX_PROBABILITY_MINUTES": "0.01"},
    "short audio": {"VAD_MAX_AUDIO_HOURS": "0.0001"},
}


@pytest.fixture(params=SETTINGS, scope="module")
def set_house(request: pytest.FixtureRequest, house: House) -> Iterator[House]:
    settings = {**house.settings, **SETTINGS[request.param]}
    model = settings.pop("VAD_MODEL", house.model)
    if model != house.model:
        settings["VAD_MODELS"] += f",{house.model}"
    with local_server(model, house.scratch / "server", settings) as server:
        yield replace(house, server=server, model=model, settings=settings)


REQUESTS: Mapping[str, Options] = {
    "nothing": {},
    "a preset": {"preset": "asr"},
    "no preset": {"preset": "none", "probabilities": "true"},
    "a mode": {MODE: "tight", "speech_pad_ms": "30", "model": "fsmn"},
    "a model": {"model": "firered", "max_chunk_s": "1"},
}


def test_settings_lie_under_the_request_at_every_door(set_house: House) -> None:
    told = []
    for name, options in REQUESTS.items():
        told += [f"{name}: {each}" for each in differences(set_house, options, ["json"], "one")]
    assert not told, "\n".join(told)


def test_a_refusal_knows_the_settings_at_every_door(set_house: House) -> None:
    wrong = ({"max_end_silence_time": "500", "preset": "asr"}, {"threshold": "0.5"}, {"speech_threshold": "0.5"})
    content = set_house.files("one")[0].read_bytes()
    for options in wrong:
        answer = set_house.server.post("/vad", params=options, content=content)
        if answer.status_code == 200:
            continue
        for service in ([], ["--url", set_house.server.url]):
            ended = run_command(
                set_house, "detect", set_house.files("one")[0], *flags("detect", options), *service, alone=not service
            )
            assert answer.json()["detail"] in ended.message, (options, service)
        ended = run_command(
            set_house, "batch", set_house.sounds / "one", fresh_folder(set_house), *flags("batch", options)
        )
        assert answer.json()["detail"] in ended.message


def test_only_a_service_keeps_an_analysis(house: House) -> None:
    path = house.files("one")[0]
    through = run_command(house, "detect", path, "--keep", "--url", house.server.url, alone=False)
    identifier = json.loads(through.stdout)["analysis_id"]
    again = house.server.get(f"/analyses/{identifier}/segments")
    assert comparable("json", again.content, {}) == comparable("json", through.stdout.encode(), {})
    alone = run_command(house, "detect", path, "--keep")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert alone.stderr.startswith("keep: ")
