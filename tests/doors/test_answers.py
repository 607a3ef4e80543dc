"""One request, one answer: what a raw body is answered over HTTP is what every other door gives, for every form, model
and option: byte for byte, but for JSON documents, where ids, times and the device are left out, and archives, whose
members count.

Forms meet models and channels pairwise here; the whole product is marked `full`.
"""

import json
from itertools import product

import pytest

from app.formats.excerpts import ExcerptOptions
from app.registry import installed
from app.vad.chunks import ChunkOptions
from app.vad.segmenters.registry import MODE
from tests.doors.doors import agree, differences, fresh_folder, over_http_raw, parameters, run_command
from tests.doors.house import SILERO, House
from tests.doors.options import ModeCase, file_options, in_force, mode_cases, other_values

FORMS = installed().formats.names
MODELS = ["fsmn", "firered", "firered-stream", "firered-aed", "fsmn+firered"]
MODELS += ["silero", "silero-8k", "silero+firered-stream"] if SILERO else []
CHANNELS = ["mix", "split", "1", "loudest"]
Options = dict[str, str]


# ---- forms, models, channels


def fourth(number: int) -> list[str]:
    """Every fourth form, from this one on: four models in a row meet all forms."""
    return FORMS[number % 4 :: 4]


PAIRS = [
    *((model, "mix", fourth(number)) for number, model in enumerate(MODELS)),
    *((model, "split", fourth(number + 2)) for number, model in enumerate(MODELS)),
    ("firered-aed", "mix", fourth(0)),
    ("firered-aed", "mix", fourth(2)),
    ("fsmn", "loudest", fourth(3)),
    ("fsmn", "split", fourth(3)),
]


@pytest.mark.parametrize(
    ("model", "channel", "forms"), PAIRS, ids=[f"{model}, {channel}" for model, channel, _ in PAIRS]
)
def test_forms_models_and_channels(house: House, model: str, channel: str, forms: list[str]) -> None:
    agree(house, {"model": model, "channel": channel}, forms, "speech")


def test_every_form_meets_several_models_and_split_channels() -> None:
    for form in FORMS:
        assert len({model for model, _, forms in PAIRS if form in forms}) >= 3
        assert "split" in {channel for _, channel, forms in PAIRS if form in forms}
        assert "firered-aed" in {model for model, _, forms in PAIRS if form in forms}


@pytest.mark.full
@pytest.mark.parametrize(("model", "channel"), [*product(MODELS, CHANNELS)])
@pytest.mark.parametrize("chunks", [{}, {"max_chunk_s": "1.5", "chunk_pad_ms": "100"}], ids=["", "chunks"])
def test_the_whole_product(house: House, model: str, channel: str, chunks: Options) -> None:
    options = {"model": model, "channel": channel, **chunks}
    # A file of one channel has no second one, which is a refusal like any other.
    agree(house, options, FORMS, "speech")


# ---- options

CASES: dict[str, tuple[Options, list[str], str]] = {
    "a channel that one file has": ({"channel": "1"}, ["json", "csv", "wav"], "speech"),
    "chunks": (
        other_values(ChunkOptions), ["json", "ndjson", "csv", "zip", "wav", "whisperx", "clips", "lhotse"], "speech",
    ),
    "chunks of split channels": (
        {"max_chunk_s": "1.5", "channel": "split"}, ["json", "ndjson", "zip", "whisperx"], "speech",
    ),
    "probabilities": (
        {"probabilities": "true", "members": "true", "model": "fsmn+firered"}, ["json", "ndjson", "csv"], "speech",
    ),
    "probabilities of labels": (
        {"probabilities": "true", "members": "true", "model": "firered-aed", "channel": "split"}, ["json"], "speech",
    ),
    "overlap": (
        {"overlap": "true", "overlap_threshold": "0.2", "model": "pyannote"}, ["json", "csv", "zip"], "speech",
    ),
    "overlap of a sum, by channels, in more than a block": (
        {"overlap": "true", "model": "firered+pyannote", "channel": "split", "max_chunk_s": "3"}, ["ndjson"], "long",
    ),
    "excerpts": (other_values(ExcerptOptions), ["json", "wav", "zip"], "speech"),
    "excerpts of split channels": (
        {**other_values(ExcerptOptions), "channel": "split"}, ["json", "wav", "zip"], "speech",
    ),
    "a time map of what is cut": ({"time_map": "true"}, ["json", "wav", "zip", "csv"], "speech"),
    "a time map of labels": ({"time_map": "true", "model": "firered-aed"}, ["json", "wav", "zip"], "speech"),
    "headings in English": ({"lang": "en"}, ["md", "csv"], "speech"),
    "a preset": ({"preset": "asr"}, ["json", "srt", "zip"], "speech"),
    "a preset with a model": ({"preset": "subtitles", "model": "fsmn"}, ["json", "srt"], "speech"),
    "a preset of a file": ({"preset": "mine"}, ["json", "csv", "clips", "zip"], "speech"),
    "a preset of a file with another model": ({"preset": "mine", "model": "fsmn"}, ["json", "srt"], "speech"),
    "padding of either side": (
        {"pad_start_ms": "-40", "pad_end_ms": "300", "mode": "tight"}, ["json", "csv", "wav"], "speech",
    ),
    "padding of one side, by channels": (
        {"pad_end_ms": "250", "channel": "split", "max_chunk_s": "2"}, ["json", "ndjson", "zip"], "speech",
    ),
    "no preset": ({"preset": "none"}, ["json"], "speech"),
    "what holds little": ({}, ["json", "ndjson", "csv", "textgrid", "wav", "zip", "md"], "odd"),
    "what holds little, by channels": ({"channel": "split"}, ["json", "funasr", "wav", "zip"], "odd"),
    "what holds little, with labels": ({"model": "firered-aed", "max_chunk_s": "2"}, ["json", "eaf", "zip"], "odd"),
    "more than a block": ({"model": "fsmn+firered"}, ["json", "ndjson", "rttm", "wav"], "long"),
    "more than a block, by channels": (
        {"model": "firered-aed", "channel": "split", "max_chunk_s": "3", "probabilities": "true"},
        ["json", "ndjson", "zip"],
        "long",
    ),
    "bare samples": (
        {"encoding": "pcm_s16le", "sample_rate": "8000", "channels": "2"}, ["json", "wav", "zip"], "bare",
    ),
    "bare samples, by channels": (
        {"encoding": "s16le", "sample_rate": "8000", "channels": "2", "channel": "split"}, ["json", "wav"], "bare",
    ),
    "a name that tells of another coding": ({}, ["json", "csv", "zip"], "basic"),
    "a film": ({}, ["json", "csv", "wav"], "films"),
    "every track": ({"track": "all"}, ["json", "ndjson", "csv", "zip"], "films"),
    "a track that one file has": ({"track": "1"}, ["json", "wav"], "films"),
    "a player's clock": ({"clock": "container"}, ["json", "srt", "wav"], "films"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_options_of_answers_and_of_reading(house: House, name: str) -> None:
    options, forms, sounds = CASES[name]
    agree(house, options, forms, sounds)


@pytest.mark.parametrize("case", mode_cases(), ids=lambda case: case.name)
def test_every_option_of_every_mode(house: House, case: ModeCase) -> None:
    agree(house, case.options, ["json", "csv"], "speech")
    (answer, *_) = over_http_raw(house, case.options, ["json"], "speech").values()
    assert (
        in_force({name: value for name, value in case.options.items() if name != "model"}, answer.answer["options"])
        == {}
    )


def test_every_option_is_met() -> None:
    """A new option of a mode, of chunks or of excerpts is met by itself; any other needs a case above."""
    asked = {name for options, _, _ in CASES.values() for name in options}
    asked |= {name for case in mode_cases() for name in case.options}
    # Every case has a format; what is kept is a door of its own.
    assert set(file_options()) - asked == {"format", "keep"}


# ---- spellings

SPELLINGS: dict[str, tuple[str, ...]] = {
    "max_end_silence_time": (
        "1e3",
        "1000.0",
        " 1000 ",
        "+1000",
        "1_000",
        "１０００",
        "0x3e8",
        "1000.5",
        "1e400",
        "nan",
        "1,000",
    ),
    "threshold": (".5", "5e-1", " 0.5", "0.5\n", "٠.٥", "1/2", "nan", "inf", "-0", "0,5", "True"),
    "max_speech_duration_s": ("inf", "Infinity", "1e999", "INF"),
    "do_extend": ("yes", "on", "0", "False", "T", "nein"),
    "channel": ("01", " 1", "１", "MIX", "+1", "1.0", "8", "-1", "mix,split"),
    "track": ("00", "1e0", " 0 ", "٠", "64", "-0"),
    "mode": ("Tight", " tight", "tight ", "tight,endpoint"),
    "preset": ("None", "ASR", " asr", "asr+noisy"),
    "clock": ("Samples", " samples"),
    "lang": ("EN", " en", "de"),
    "silence": ("Zero", " zero"),
    "max_chunk_s": ("inf", "nan", "1", "6e2", "٣"),
    "excerpt_rate": ("8000.0", "8e3", "7999", "１６０００"),
    "encoding": ("PCM_S16LE", " pcm_s16le", "s16le", "G722", "pcm_s16le;", "ogg"),
    "probabilities": ("TRUE", "1", "yes", "2"),
}
"""Ways in which people and programs write values: all mean the same at every door, or nothing at any."""


@pytest.mark.parametrize("option", SPELLINGS)
def test_a_value_is_read_alike_however_it_is_spelled(house: House, option: str) -> None:
    mode = {"threshold": "tight", "max_speech_duration_s": "tight", "max_end_silence_time": "endpoint"}.get(option)
    others = {} if mode is None else {MODE: mode}
    flag = parameters("detect").get(option)
    doors = ["form"] if flag is None or flag.is_flag else ["form", "command line", "command line with --url"]
    told = [
        f"{value!r}: {each}"
        for value in SPELLINGS[option]
        for each in differences(house, {option: value, **others}, ["json"], "one", doors)
    ]
    assert not told, "\n".join(told)


def test_names_of_models_are_told_apart_alike(house: House) -> None:
    """But for unknown ones: the command line alone takes directories and the hub's ids, too, and says where it has
    looked."""
    told = []
    for name in ("FSMN", "firered+fsmn", "fsmn+firered+fsmn", "fsmn + firered", "+", "fsmn/../fsmn", "a/firered"):
        said = over_http_raw(house, {"model": name}, ["json"], "one")["short.wav", "json"]
        unknown = said.refused is not None and "there is no model" in said.refused
        doors = ["form", "command line with --url", *([] if unknown else ["command line"])]
        told += differences(house, {"model": name}, ["json"], "one", doors)
        if unknown:
            ended = run_command(house, "detect", *house.files("one"), f"--model={name}")
            assert (ended.returncode, ended.stdout) == (3, "")
    assert not told, "\n".join(told)


def test_a_file_without_bytes_is_no_audio_at_any_door(house: House) -> None:
    """Over HTTP it cannot be told from none at all, so the words are others."""
    answers = [
        house.server.post("/vad", content=b"", headers={"Content-Disposition": "attachment; filename=empty.wav"}),
        house.server.post("/vad", files={"file": ("empty.wav", b"")}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, "no_audio")] * 2
    (path,), out = house.files("empty"), fresh_folder(house)
    alone, through = (
        run_command(house, "detect", path, *service, alone=not service) for service in ([], ["--url", house.server.url])
    )
    assert (alone.returncode, alone.stdout, alone.stderr) == (1, "", f"{path}: the file is empty\n")
    assert (through.returncode, through.stdout) == (1, "")
    assert answers[0].json()["detail"] in through.stderr
    assert run_command(house, "batch", path.parent, out, "--workers=1", "--per-file=csv").returncode == 1
    (row,) = [json.loads(line) for file in out.glob("segments-*") for line in file.read_text().splitlines()]
    assert (row["error_code"], row["error"]) == ("no_audio", "the file is empty")
