"""One refusal, one wording: what is wrong with a request is said in the same words over HTTP, on the command line,
with a service or without, in a batch, and where a live stream is opened."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from app.request import FILE_ONLY, STREAM_ONLY
from app.vad.chunks import ChunkOptions
from app.vad.segmenters.registry import MODE
from tests.doors.doors import flags, fresh_folder, parameters, run_command
from tests.doors.house import House
from tests.doors.options import file_options, machine_of, stream_options
from tests.live.client import hear_all, stream

Options = dict[str, str]
FLAGS = [name for name, flag in parameters("detect").items() if not flag.is_flag]
"""Options that the command line takes a value for."""

WRONG: list[Options] = [
    # values
    {"threshold": "3", MODE: "tight"},
    {"threshold": "loud", MODE: "tight"},
    {"max_end_silence_time": "199"},
    {"max_end_silence_time": "soon"},
    {"max_speech_duration_s": "0.5", MODE: "tight"},
    {"merge_gap_ms": "-1"},
    {"split": "soft"},
    {"speech_threshold": "2", MODE: "smoothed"},
    {"max_chunk_s": "0"},
    {"chunk_pad_ms": "2001"},
    {"channel": "nine"},
    {"channel": "64"},
    {"track": "-1"},
    {"track": "64"},
    {"clock": "wall"},
    {"lang": "de"},
    {"silence": "gold"},
    {"excerpt_rate": "7999"},
    {"excerpt_channels": "2"},
    {"min_excerpt_s": "-1"},
    {"sample_rate": "fast", "encoding": "pcm_s16le"},
    {"channels": "9", "encoding": "pcm_s16le"},
    {"channels": "65", "encoding": "pcm_s16le", "channel": "3"},
    {"track": "all", "channel": "split"},
    # names
    {MODE: "loose"},
    {"preset": "party"},
    {"preset": "x" * 65},
    {"encoding": "pcm_s17le"},
    {"format": "doc"},
    # options of other modes, and of a mode's other machines
    {"threshold": "0.5"},
    {"threshold": "0.5", MODE: "endpoint"},
    {"max_end_silence_time": "500", MODE: "tight"},
    {"max_end_silence_time": "500", "preset": "asr"},
    {"speech_threshold": "0.5"},
    {"singing_threshold": "0.5", MODE: "tight"},
    # contradictions
    {"threshold": "0.4", "neg_threshold": "0.6", MODE: "tight"},
    {"sil_to_speech_time_thres": "300"},
    {"speech_to_sil_time_thres": "200", "max_end_silence_time": "200"},
    {"max_chunk_s": "2", "chunk_pad_ms": "600"},
    {"sample_rate": "8000"},
    {"channels": "2"},
    {"encoding": "g722", "channels": "2"},
    {"encoding": "g729", "sample_rate": "16000"},
    # what a model does not tell
    {"overlap": "true"},
    {"overlap": "true", "model": "firered-aed"},
    {"overlap_threshold": "0.2", "model": "pyannote"},
    {"overlap_threshold": "2", "overlap": "true", "model": "pyannote"},
    # sums
    {"model": "fsmn+fsmn"},
    {"model": "fsmn+firered-aed"},
    {"model": "fsmn+0*firered"},
    {"model": "fsmn+10*firered"},
    {"model": "best+fsmn"},
    {"model": "fsmn+firered", "max_end_silence_time": "500"},
    # another door's
    {"encoding": "webm"},
]
"""Wrong before any file is looked at."""
LIVE_TOO = [
    options
    for options in WRONG
    # Live streams have other ranges and codings, and are refused what only files have before it is read.
    if not {*options} & {*FILE_ONLY, *ChunkOptions.names(), "encoding", "sample_rate", "channels"}
]
ABOUT_A_FILE: list[tuple[Options, str]] = [
    ({"channel": "3"}, "one"),
    ({"channel": "7", "model": "firered-aed"}, "one"),
    ({"track": "3"}, "one"),
    ({"track": "9"}, "films"),
]
"""Wrong for what the file turns out to be."""


def over_http(house: House, options: Options, sounds: str = "one") -> dict[str, Any]:
    """The problem, which is the same for a raw body, in a form, and where query and form share the options."""
    (path, *_), content = house.files(sounds), house.files(sounds)[0].read_bytes()
    first, *rest = options.items()
    asked: list[dict[str, Any]] = [
        {"params": options, "content": content},
        {"data": options, "files": {"file": (path.name, content)}},
        {"params": dict(rest), "data": dict([first]), "files": {"file": (path.name, content)}},
        {"params": options, "data": dict.fromkeys(options, " "), "files": {"file": (path.name, content)}},
    ]
    with house.server.client() as client:
        answers = [client.post("/vad", **each) for each in asked]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    problems = [without_id(answer) for answer in answers]
    assert all(problem == problems[0] for problem in problems), problems
    return problems[0]


def without_id(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def say(options: Mapping[str, str]) -> str:
    return "&".join(f"{name}={value[:20]}" for name, value in options.items())


@pytest.mark.parametrize("options", WRONG, ids=say)
def test_a_wrong_request_is_refused_in_one_wording(house: House, options: Options) -> None:
    problem = over_http(house, options)
    assert (problem["status"], problem["code"]) == (422, "invalid_option")
    assert problem["option"] in options
    assert problem["detail"].startswith(f"{problem['option']}: ")
    for alone in (True, False):
        told = on_the_command_line(house, options, alone=alone)
        assert problem["detail"] in told, ("alone" if alone else "--url", told, problem["detail"])
    if not {*options} & {"format"}:
        told = in_a_batch(house, options)
        assert problem["detail"] in told, ("batch", told, problem["detail"])


def on_the_command_line(house: House, options: Options, *, alone: bool) -> str:
    out = fresh_folder(house)
    service = [] if alone else ["--url", house.server.url]
    ended = run_command(
        house, "detect", *house.files("one"), *flags("detect", options), *service, "--out", out, alone=alone
    )
    assert (ended.returncode, ended.stdout) == (2 if alone else ended.returncode or 2, "")
    assert not out.exists() or not list(out.iterdir())
    return ended.message


def in_a_batch(house: House, options: Options) -> str:
    out = fresh_folder(house)
    ended = run_command(house, "batch", house.sounds / "one", out, *flags("batch", options))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert not out.exists()
    return ended.message


@pytest.mark.parametrize("options", LIVE_TOO, ids=say)
def test_a_live_stream_is_refused_in_the_same_wording(house: House, options: Options) -> None:
    problem = over_http(house, options)
    assert live_refusal(house, options) == {name: problem[name] for name in ("code", "detail", "option")}


def live_refusal(house: House, options: Options) -> dict[str, Any]:
    with stream(house.server, None, **options) as socket:
        heard = hear_all(socket)
    assert heard.code == 1008
    return {name: heard.error[name] for name in ("code", "detail", "option")}


@pytest.mark.parametrize(
    ("options", "sounds"), ABOUT_A_FILE, ids=lambda value: say(value) if isinstance(value, dict) else value
)
def test_what_a_file_has_not_is_refused_in_one_wording(house: House, options: Options, sounds: str) -> None:
    problem = over_http(house, options, sounds)
    path = house.files(sounds)[0]
    for alone in (True, False):
        out = fresh_folder(house)
        service = [] if alone else ["--url", house.server.url]
        ended = run_command(house, "detect", path, *flags("detect", options), *service, "--out", out, alone=alone)
        assert ended.returncode == 1
        assert f"{path}: {problem['detail']}" in ended.stderr


# ---- names


@pytest.mark.parametrize(
    "name", ["tresholdd", "Threshold", "threshold ", "segmenter_options", "x" * 100, "süß", "model[]"]
)
def test_an_unknown_name_is_refused_alike_wherever_names_can_be_written(house: House, name: str) -> None:
    problem = over_http(house, {name: "1"})
    assert (problem["code"], problem["option"]) == ("invalid_option", name[:64])
    live = live_refusal(house, {name: "1"})
    assert (live["code"], live["option"]) == (problem["code"], problem["option"])
    # Each door lists its own options.
    assert live["detail"].partition("; there are:")[0] == problem["detail"].partition("; there are:")[0]


@pytest.mark.parametrize("command", ["detect", "batch", "stream"])
def test_a_command_knows_no_other_flags(house: House, command: str) -> None:
    ended = run_command(house, command, *house.files("one"), "--tresholdd", "1")
    assert ended.returncode == 2
    assert "--tresholdd" in ended.stderr


def test_an_unknown_model(house: House) -> None:
    problem = over_http(house, {"model": "nope"})
    assert problem["detail"] == (
        f"model: there is no model 'nope' here; there are: {', '.join(sorted_as_listed(house))}"
    )
    assert problem["detail"] in on_the_command_line(house, {"model": "nope"}, alone=False)
    assert live_refusal(house, {"model": "nope"})["detail"] == problem["detail"]
    # The command line alone may be given a directory or an id of the hub, too, and says where it has looked.
    for command, more in (("detect", ()), ("batch", (fresh_folder(house),))):
        ended = run_command(house, command, *house.files("one"), *more, "--model", "nope")
        assert ended.returncode == 3
        assert "nope" in ended.stderr


def sorted_as_listed(house: House) -> list[str]:
    models = house.server.get("/models").json()["models"]
    return [model["name"] for model in models if model["state"] != "absent" and "+" not in model["name"]]


# ---- other doors' options


@pytest.mark.parametrize("name", sorted(STREAM_ONLY))
def test_a_file_is_refused_what_only_live_streams_have(house: House, name: str) -> None:
    value = {"protocol": "funasr", "audio": "true", "session": "x", "probability_interval_ms": "200"}.get(name, "1")
    problem = over_http(house, {name: value})
    assert problem["detail"] == f"{name}: is an option of live streams, not of files"
    assert name not in parameters("detect")
    assert name not in parameters("batch")


@pytest.mark.parametrize("name", sorted(FILE_ONLY))
def test_a_live_stream_is_refused_what_only_files_have(house: House, name: str) -> None:
    value = {"format": "json", "lang": "en", "clock": "container", "silence": "zero", "excerpt_rate": "8000"}.get(
        name, "1"
    )
    refused = live_refusal(house, {name: value})
    assert refused == {
        "code": "invalid_option", "option": name, "detail": f"{name}: is an option of files, not of live streams",
    }  # fmt: skip


# ---- every option


CHECKED = [name for name in file_options() if name != "model"]
"""Options that not any text can be a value of."""


@pytest.mark.parametrize("name", CHECKED)
def test_nonsense_is_refused_alike_in_query_and_form(house: House, name: str) -> None:
    problem = over_http(house, nonsense(name))
    assert (problem["code"], problem["option"]) == ("invalid_option", name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in CHECKED if name in FLAGS])
def test_nonsense_is_refused_alike_on_the_command_line_and_in_batches(house: House, name: str) -> None:
    options = nonsense(name)
    detail = over_http(house, options)["detail"]
    assert detail in on_the_command_line(house, options, alone=True)
    assert detail in on_the_command_line(house, options, alone=False)
    if name != "format":
        assert detail in in_a_batch(house, options)


# Streams have other codings than files.
@pytest.mark.parametrize("name", [name for name in stream_options() if name in CHECKED and name != "encoding"])
def test_nonsense_is_refused_alike_on_a_live_stream(house: House, name: str) -> None:
    options = nonsense(name, live=True)
    problem = over_http(house, options)
    assert live_refusal(house, options) == {key: problem[key] for key in ("code", "detail", "option")}


def nonsense(name: str, *, live: bool = False) -> Options:
    """A request that sets the option to what it cannot be, on a model whose machine has it."""
    needed = {} if name in (MODE, *ChunkOptions.names()) else machine_of(name, live=live)
    return {name: "n0nsense", **needed}
