"""`fsmn-vad detect`, and what all commands share."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from app.registry import installed
from tests.cli.calling import call, environment
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.small_firered import write_small_firered

FORMATS = [form.name for form in installed().formats if not form.needs_audio]


def pairs(document: dict[str, Any]) -> list[list[int]]:
    return [[segment["start_ms"], segment["end_ms"]] for segment in document["segments"]]


@pytest.fixture(scope="module")
def found(small_model: Path, speech_like: Path) -> list[list[int]]:
    """What `detect` finds in the file."""
    return pairs(json.loads(call(small_model, "detect", speech_like).stdout))


def test_json_is_the_default_where_nobody_looks(found: list[list[int]]) -> None:
    assert len(found) == 2


@pytest.mark.slow
def test_a_process_of_its_own(small_model: Path, speech_like: Path, found: list[list[int]]) -> None:
    command = Path(sys.executable).parent / "fsmn-vad"  # as installed; other tests fork it (tests/forked.py)
    ended = subprocess.run(
        [command, "detect", "-"], env=environment(small_model), input=speech_like.read_bytes(), capture_output=True,
        check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert pairs(json.loads(ended.stdout)) == found


def test_a_table_for_people(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", speech_like, "--format", "table")
    assert ended.returncode == 0
    assert "2 segments" in ended.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_services(small_model: Path, speech_like: Path, server: RunningServer, name: str) -> None:
    """Byte for byte, and a newline at the end; a run's own times and ids aside."""
    with server.client() as client:
        content = speech_like.read_bytes()
        disposition = {"Content-Disposition": f'attachment; filename="{speech_like.name}"'}
        served = client.post("/vad", params={"format": name, "lang": "en"}, content=content, headers=disposition).text
    expected = served if served.endswith("\n") else f"{served}\n"
    for door in ((), ("--url", server.url)):
        ended = call(small_model, "detect", speech_like, "--format", name, "--lang", "en", *door)
        assert (ended.returncode, ended.stderr) == (0, "")
        if name in ("json", "ndjson"):
            assert without_times(ended.stdout) == without_times(served)
        else:
            assert ended.stdout == expected


def without_times(text: str) -> list[dict[str, Any]]:
    """The lines, without what is of the run and not of the file."""
    lines = [json.loads(line) for line in text.splitlines()]
    runs = ("request_id", "timing", "device")
    return [
        {name: value for name, value in line.items() if name not in runs}
        for line in lines
        if line.get("type") != "progress"
    ]


@pytest.fixture(scope="module")
def labelled(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with a model that tells more than speech."""
    folder = write_small_firered(tmp_path_factory.mktemp("aed"), labels=3, seed=4)
    return {"VAD_MODELS": f"aed=firered:{folder}"}


def test_labels_come_through_a_server(
    small_model: Path, labelled: dict[str, str], speech_like: Path, tmp_path: Path
) -> None:
    with local_server(small_model, tmp_path / "server", labelled) as server:
        for form, told in (("funasr", '"bursts-music"'), ("textgrid", '"music"'), ("csv", ",label\n")):
            here, there = (
                call(small_model, "detect", speech_like, "--model", "aed", "--format", form, *door, **labelled)
                for door in ((), ("--url", server.url))
            )
            assert (here.returncode, there.returncode, there.stderr) == (0, 0, "")
            assert here.stdout == there.stdout
            assert told in there.stdout
        shown = call(tmp_path, "detect", speech_like, "--model", "aed", "--format", "table", "--url", server.url)
        assert "singing" in shown.stdout


def test_names_of_the_settings_are_theirs_in_sums_and_presets(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    """Also those of known models, as in the service."""
    firered = write_small_firered(tmp_path / "firered")
    stream = write_small_firered(tmp_path / "stream", ahead=0, seed=2)
    silero = write_small_firered(tmp_path / "silero", seed=3)
    settings = {"VAD_MODELS": f"firered=firered:{firered},firered-stream=firered:{stream},silero=firered:{silero}"}
    asked = (("--model", "firered"), ("--model", "firered+fsmn"), ("--preset", "asr"))
    with local_server(f"fsmn={small_model}", tmp_path / "server", settings) as server:
        for arguments in asked:
            here, there = (
                call(f"fsmn={small_model}", "detect", speech_like, *arguments, *door, **settings)
                for door in ((), ("--url", server.url))
            )
            assert (here.returncode, here.stderr) == (there.returncode, there.stderr) == (0, "")
            assert without_times(here.stdout) == without_times(there.stdout)
    elsewhere = call(f"fsmn={small_model}", "detect", speech_like, "--model", "/nowhere/firered", **settings)
    assert (elsewhere.returncode, "a directory /nowhere/firered: there is none" in elsewhere.stderr) == (3, True)
    twice = call(f"fsmn={small_model}", "detect", speech_like, "--model", "fsmn+fsmn", **settings)
    assert (twice.returncode, "model: fsmn is named twice" in twice.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--threshold", "3", "--mode", "tight"), 2),
        (("--threshold", "0.4"), 2),
        (("--mode", "loose"), 2),
        (("--format", "doc"), 2),
        (("--preset", "none-such"), 2),
        (("--channel", "5"), 1),
    ],
)
def test_a_servers_refusals_are_in_its_words(
    small_model: Path, server: RunningServer, speech_like: Path, arguments: tuple[str, ...], status: int
) -> None:
    """And are those of this machine; what is wrong for every file is said once, and ends with another status."""
    files = (speech_like, speech_like.parent)
    here, there = (call(small_model, "detect", *files, *arguments, *door) for door in ((), ("--url", server.url)))
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout) == (status, "")
    assert here.stderr.strip() == there.stderr.strip().replace(" (422 invalid_option)", "")


def test_an_answer_without_a_line_is_one(server: RunningServer, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(32_000), 16_000)
    ended = call(tmp_path, "detect", silent, "--url", server.url, "--format", "lhotse")
    assert (ended.returncode, ended.stdout) == (0, "\n")


def test_presets_take_no_model_that_the_settings_leave_out(
    small_model: Path, reference: Path, speech_like: Path
) -> None:
    """As in the service: what VAD_MODELS does not name is not there, whatever lies at hand."""
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    if not (reference / "modelscope" / "models" / "xukaituo" / "FireRedVAD").is_dir():
        pytest.skip("FireRedVAD is not among the reference data")
    cache = {"MODELSCOPE_CACHE": str(reference / "modelscope")}
    for models, name in (("silero", small_model.name), ("silero,firered-stream", "silero+firered-stream")):
        ended = call(small_model, "detect", speech_like, "--preset", "asr", VAD_MODELS=models, **cache)
        assert json.loads(ended.stdout)["model"]["name"] == name
        assert ("preset_model" in ended.stderr) == (name == small_model.name)


def test_stdin_folders_and_globs(small_model: Path, speech_like: Path, tmp_path: Path, found: list[list[int]]) -> None:
    piped = call(small_model, "detect", "-", stdin=speech_like.read_bytes())
    assert pairs(json.loads(piped.stdout)) == found
    for name in ("a.wav", "deep/b.wav", "deep/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(speech_like.read_bytes())
    for source, count in ((str(tmp_path), 2), (f"{tmp_path}/**/*.wav", 2), (f"{tmp_path}/*.wav", 1)):
        ended = call(small_model, "detect", source, "--jobs", "2")
        documents = (
            [json.loads(line) for line in ended.stdout.splitlines()] if count > 1 else [json.loads(ended.stdout)]
        )
        assert [pairs(document) for document in documents] == [found] * count


def test_options_are_flags(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", speech_like, "--max-end-silence-time", "2500", "--no-do-extend")
    document = json.loads(ended.stdout)
    assert (document["options"]["max_end_silence_time"], document["options"]["do_extend"]) == (2500, False)
    assert len(document["segments"]) == 1


def test_every_mode_has_its_options_as_flags(small_model: Path) -> None:
    told = call(small_model, "detect", "--help", COLUMNS="200").stdout
    for _, kind in installed().segmenters.variants():
        assert f"With --mode {kind.mode}:" in told
        for name in kind.options.names():
            assert f"--{name.replace('_', '-')}" in told
    assert "Default: 800 ms; 200 to 10000." in " ".join(told.split())


def test_a_mode_is_chosen_by_a_flag(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", speech_like, "--mode", "tight", "--threshold", "0.6")
    options = json.loads(ended.stdout)["options"]
    assert (options["mode"], options["threshold"]) == ("tight", 0.6)
    assert "max_end_silence_time" not in options


def test_a_models_own_mode_decides_which_options_there_are(small_model: Path, speech_like: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    ended = call(small_model, "detect", speech_like, "--model", "silero", "--threshold", "0.6")
    assert json.loads(ended.stdout)["options"]["threshold"] == 0.6
    refused = call(small_model, "detect", speech_like, "--model", "silero", "--max-end-silence-time", "900")
    assert refused.returncode == 2
    assert "mode=endpoint" in refused.stderr


def test_a_model_is_chosen_by_name(small_model: Path, speech_like: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    for default, asked, name in (("silero", f"mine={small_model}", "mine"), (small_model, "silero", "silero")):
        document = json.loads(call(default, "detect", speech_like, "--model", asked).stdout)
        assert document["model"]["name"] == name
    # Noise is speech to the tiny model alone.
    assert document["segments"] == []
    # By the name that answers give it, as over HTTP.
    document = json.loads(call(small_model, "detect", speech_like, "--model", small_model.name).stdout)
    assert len(document["segments"]) == 2


def test_models_may_be_summed(small_model: Path, speech_like: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    arguments = ("detect", speech_like, "--model", "silero+silero-8k")
    document = json.loads(call(small_model, *arguments, "--threshold", "0.4").stdout)
    assert document["model"]["name"] == "silero+silero-8k"
    assert (document["options"]["mode"], document["options"]["threshold"]) == ("tight", 0.4)
    refused = call(small_model, *arguments, "--max-end-silence-time", "900")
    assert refused.returncode == 2
    assert "mode=endpoint" in refused.stderr


def test_an_option_of_any_of_a_modes_machines_may_be_given(small_model: Path) -> None:
    """Which machine a file gets shows when the model has been read; a live stream has one alone."""
    segmenters = installed().segmenters
    kinds = {use: kind for use, kind in segmenters.variants() if kind.mode == "smoothed"}
    offline, streaming = (set(kinds[use].options.names()) for use in ("file", "live"))
    for name in sorted(offline ^ streaming):
        default = next(
            kind.options.model_fields[name].default for kind in kinds.values() if name in kind.options.names()
        )
        arguments = ("nowhere.wav", "--mode", "smoothed", f"--{name.replace('_', '-')}", str(default))
        assert "no such file" in call(small_model, "detect", *arguments).stderr
        told = call(small_model, "stream", *arguments).stderr
        assert ("no such file" if name in streaming else "is an option of mode=smoothed") in told


def test_a_servers_model_is_chosen_by_name(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path / "server", {"VAD_MODELS": f"other={small_model}"}) as server:
        ended = call(tmp_path, "detect", speech_like, "--url", server.url, "--model", "other")
        assert json.loads(ended.stdout)["model"]["name"] == "other"
        refused = call(tmp_path, "detect", speech_like, "--url", server.url, "--model", "none-such")
        assert refused.returncode == 2, "wrong for every file"
        assert "none-such" in refused.stderr
        assert "other" in refused.stderr


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_results_in_a_folder_are_replaced_by_a_second_run(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    for end_silence in ("800", "2500"):
        arguments = ("detect", speech_like, "--max-end-silence-time", end_silence, "--format", "srt", "--out", tmp_path)
        assert call(small_model, *arguments).returncode == 0
    assert names_in(tmp_path) == ["bursts.srt"]
    assert (tmp_path / "bursts.srt").read_text().count("-->") == 1
    assert call(small_model, "detect", speech_like, "--format", "zip", "--out", tmp_path).returncode == 0
    assert len(zipfile.ZipFile(tmp_path / "bursts.zip").namelist()) == 3
    wav = ("--format", "wav", "--excerpt-rate", "8000", "--time_map", "--out", tmp_path)
    assert call(small_model, "detect", speech_like, *wav).returncode == 0
    written = soundfile.info(tmp_path / "bursts.speech.wav")
    assert written.samplerate == 8_000
    mapped = json.loads((tmp_path / "bursts.speech.wav.map.json").read_text())
    assert mapped[-1][0] + mapped[-1][2] == pytest.approx(written.duration * 1000, abs=0.2)


def test_results_mirror_the_tree_and_keep_what_tells_them_apart(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    for name in ("x.wav", "x.flac", "y.wav", "deep/x.wav", "deep/er/z.wav"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(speech_like.read_bytes())
    expected = ["deep/er/z.csv", "deep/x.csv", "x.flac.csv", "x.wav.csv", "y.csv"]
    for source in (str(tree), f"{tree}/**/*.*"):
        ended = call(small_model, "detect", source, "--format", "csv", "--jobs", "3", "--out", out)
        assert ended.returncode == 0
        assert names_in(out) == expected
    # As long as a name may be.
    long = tree / f"{'x' * 251}.wav"
    long.write_bytes(speech_like.read_bytes())
    assert call(small_model, "detect", long, "--format", "csv", "--out", tmp_path / "long").returncode == 0
    assert names_in(tmp_path / "long") == [f"{'x' * 251}.csv"]
    # Named alone, from two folders: the second of them has a number, whichever is done first.
    named = (tree / "x.wav", tree / "deep/x.wav", tree / "x.wav")
    assert call(small_model, "detect", *named, "--format", "csv", "--out", tmp_path / "two").returncode == 0
    assert names_in(tmp_path / "two") == ["x.wav-2.csv", "x.wav.csv"]


def test_one_mistyped_name_stops_no_other(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", "nowhere.wav", speech_like, "*.nothing")
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == ["nowhere.wav: there is no such file or folder", "*.nothing: nothing matches"]
    assert len(json.loads(ended.stdout)["segments"]) == 2


def test_the_apis_spelling_is_taken(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", speech_like, "--max_end_silence_time", "2500", "--no-do_extend")
    options = json.loads(ended.stdout)["options"]
    assert (options["max_end_silence_time"], options["do_extend"]) == (2500, False)


def test_numbers_and_no_speech_in_words(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    one = call(small_model, "detect", speech_like, "--max-end-silence-time", "2500", "--format", "table").stdout
    assert "1 segment, " in one
    for length in range(1, 100, 9):  # a name of any length: none breaks the line
        silent = tmp_path / f"{'a' * length}[mic].wav"
        soundfile.write(silent, np.zeros(32_000), 16_000)
    told = call(small_model, "detect", *tmp_path.glob("*.wav"), "--format", "table").stdout.splitlines()
    assert len(told) == 11
    assert all("a[mic].wav: no speech in 2.000 s; took " in line for line in told)


def test_presets_and_chunks(small_model: Path, speech_like: Path) -> None:
    ended = call(small_model, "detect", speech_like, "--preset", "commands", "--max-chunk-s", "5")
    document = json.loads(ended.stdout)
    assert (document["options"]["mode"], document["options"]["min_silence_duration_ms"]) == ("tight", 400)
    assert len(document["chunks"]) >= 1
    told = call(small_model, "detect", speech_like, "--preset", "asr", "--format", "table").stdout
    assert "in 1 chunk; " in " ".join(told.split())
    refused = call(small_model, "detect", speech_like, "--preset", "all")
    assert (refused.returncode, "asr, subtitles" in refused.stderr) == (2, True)
    live = call(small_model, "stream", speech_like, "--max-chunk-s", "5")
    assert (live.returncode, "a live stream has no chunks" in live.stderr) == (2, True)


def test_a_servers_chunks_are_all_there(server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    arguments = ("detect", speech_like, "--max-chunk-s", "3", "--channel", "split")
    here = json.loads(call(tmp_path, *arguments, "--url", server.url).stdout)
    with server.client() as client:
        params = {"max_chunk_s": "3", "channel": "split"}
        there = client.post("/vad", params=params, files={"file": speech_like.read_bytes()}).json()
    assert here["chunks"] == there["chunks"]
    assert len(here["chunks"]) >= 2


def test_each_channel_has_a_wav_of_its_own(small_model: Path, tmp_path: Path) -> None:
    audio = tmp_path / "stereo.wav"
    soundfile.write(audio, np.stack([bursts(2.0, [(0.5, 1.5)])] * 2, axis=1), 16_000)
    arguments = ("detect", audio, "--channel", "split", "--format", "wav", "--out", tmp_path / "out")
    assert call(small_model, *arguments).returncode == 0
    assert names_in(tmp_path / "out") == ["stereo.speech.zip"]
    with zipfile.ZipFile(tmp_path / "out" / "stereo.speech.zip") as held:
        assert held.namelist() == ["stereo_ch0.wav", "stereo_ch1.wav", "segments.csv"]


def test_one_bad_file_spoils_nothing(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    ended = call(small_model, "detect", bad, speech_like)
    assert ended.returncode == 1
    assert "bad.wav: this is not audio" in ended.stderr
    assert len(json.loads(ended.stdout)["segments"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.wav",), "nowhere.wav"),
        (("*.nothing",), "nothing matches"),
        (("-", "--format", "doc"), "format: there is no such format"),
        (("-", "--format", "zip"), "--out"),
        (("-", "--mode", "tight", "--threshold", "3"), "threshold"),
        (
            ("-", "--threshold", "0.4"),
            "threshold: is an option of mode=tight, but the mode in force is endpoint: add --mode tight",
        ),
        (("-", "--mode", "loose"), "endpoint, tight"),
        (("-", "--channel", "left"), "channel"),
        (("-", "--lang", "fr"), "lang: input should be 'zh' or 'en'"),
        (("-", "--keep"), "--url"),
        (("-", "--model", "a b=c"), "cannot be a name"),
        (("-", "--no-such-option"), "no-such-option"),
        (("-", "--url", "http://127.0.0.1:9", "--channel", "left"), "channel"),
        (("-", "--url", "nowhere"), "nowhere: this is not a URL"),
    ],
)
def test_wrong_usage(small_model: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = call(small_model, "detect", *arguments)
    assert ended.returncode == 2
    assert told in ended.stderr


def test_defaults_of_the_settings_are_minded(small_model: Path) -> None:
    """A mode that the settings choose has its options without `--mode`."""
    ended = call(small_model, "detect", "nowhere.wav", "--threshold", "0.4", VAD_DEFAULT_OPTIONS='{"mode": "tight"}')
    assert ended.returncode == 2
    assert "no such file" in ended.stderr


def test_no_model(tmp_path: Path, speech_like: Path) -> None:
    ended = call(tmp_path / "none", "detect", speech_like, MODELSCOPE_CACHE=str(tmp_path))
    assert ended.returncode == 3
    assert "VAD_MODEL" in ended.stderr
    assert ended.stderr.count("is not available") == 1


@pytest.mark.parametrize("name", ["silerro", "silero+firred"])
def test_a_mistyped_model(small_model: Path, name: str) -> None:
    """Told at once, with what there is."""
    for command in ("detect", "stream"):
        ended = call(small_model, command, "nowhere.wav", "--model", name, VAD_MODELS=f"mine={small_model}")
        assert ended.returncode == 3
        wrong = name.rsplit("+", 1)[-1]
        assert ended.stderr.startswith(f"there is no model '{wrong}'; there are: fsmn, ")
        assert ", mine, or the folder or ModelScope id" in ended.stderr


def test_a_server_in_place_of_this_machine(
    server: RunningServer, speech_like: Path, tmp_path: Path, found: list[list[int]]
) -> None:
    ended = call(tmp_path, "detect", speech_like, "--url", server.url)
    assert pairs(json.loads(ended.stdout)) == found
    refused = call(tmp_path, "detect", speech_like, "--url", "http://127.0.0.1:9")
    assert refused.returncode == 1
    assert "no answer" in refused.stderr


def test_a_servers_channels_are_all_there(server: RunningServer, tmp_path: Path) -> None:
    audio = tmp_path / "two.wav"
    spoken, silent = bursts(2.0, [(0.5, 1.5)]), bursts(2.0, [])
    soundfile.write(audio, np.stack([spoken, silent], axis=1), 16_000)
    ended = call(tmp_path, "detect", audio, "--url", server.url, "--channel", "split", "--format", "funasr")
    assert [entry["key"] for entry in json.loads(ended.stdout)] == ["two-ch0", "two-ch1"]
    assert [len(entry["value"]) for entry in json.loads(ended.stdout)] == [1, 0]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>", "text/html"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"segments": []}', "application/json"),
    ],
)
def test_what_no_server_of_ours_says(
    content: bytes, kind: str, speech_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(self: object, request: httpx.Request, **kwargs: object) -> httpx.Response:
        return httpx.Response(200, content=content, headers={"Content-Type": kind}, request=request)

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    for form in ("json", "table"):
        ended = call(tmp_path, "detect", speech_like, "--url", "http://127.0.0.1:9", "--format", form)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "the server" in ended.stderr


def test_health_command(small_model: Path, server: RunningServer) -> None:
    assert call(small_model, "health", "--url", server.url).returncode == 0
    assert call(small_model, "health", VAD_PORT=str(server.port)).returncode == 0
    ended = call(small_model, "health", "--url", "http://127.0.0.1:9")
    assert ended.returncode == 1
    assert "no answer" in ended.stderr


def test_health_of_a_container_goes_without_the_other_commands(small_model: Path, server: RunningServer) -> None:
    program = (
        "import sys; from app.cli import main; sys.argv[1:] = ['health']\ntry: main()\nfinally: print(*sys.modules)"
    )
    for port, status in ((server.port, 0), (9, 1)):
        ended = subprocess.run(
            [sys.executable, "-c", program], env={**environment(small_model), "VAD_PORT": str(port)},
            cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == status, ended.stderr
        assert "app.cli.commands" not in ended.stdout.split()
        assert "app.cli.terminal" in ended.stdout.split()


HELPS = Path(__file__).parent / "help"
COMMANDS = [
    "", "serve", "health", "detect", "stream", "batch", "tune", "model", "model list", "model path", "model download",
    "model verify", "model export",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_whole_on_80_columns(small_model: Path, command: str) -> None:
    """As kept in a file; `VAD_WRITE_HELP=1` writes it anew."""
    told = call(small_model, *command.split(), "--help", COLUMNS="80").stdout
    kept = HELPS / f"{command.replace(' ', '-') or 'fsmn-vad'}.txt"
    if os.environ.get("VAD_WRITE_HELP"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(told)
    assert told == kept.read_text()
    assert max(map(len, told.splitlines())) <= 80
    # No name is cut: each stands alone or has its meaning beside it.
    assert not re.search(r"--[\w-]*…", told)


def test_settings_are_listed(small_model: Path) -> None:
    listed = call(small_model, "serve", "--settings", COLUMNS="200").stdout
    for name in ("VAD_PORT", "VAD_MODELS", "VAD_MAX_UPLOAD_MB", "MODELSCOPE_CACHE"):
        assert name in listed


CHEAP = (
    ("--help",), ("--version",), ("detect", "--help"), ("detect", "nowhere.wav"), ("detect", "-", "--threshold", "3"),
    ("detect", "-", "--format", "doc"), ("detect", "-", "--channel", "left"), ("detect", "-", "--mode", "loose"),
    ("stream",), ("stream", "nowhere.wav"), ("stream", "-", "--threshold", "3"),
    ("stream", "-", "--url", "ws://127.0.0.1:9"), ("batch", "nowhere", "out"), ("batch", "app", "out", "--mode", "x"),
    ("serve", "--help"), ("serve", "--settings"), ("serve", "--port", "99999"), ("health", "--url", "http://[::1]:9"),
)  # fmt: skip
_WITHOUT_TORCH = """
import json, sys
from typer.testing import CliRunner
from app.cli.commands import cli
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in (0, 1, 2), (arguments, result.output)
    assert "torch" not in sys.modules, arguments
"""


def test_what_needs_no_model_does_not_wait_for_torch(small_model: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_TORCH, json.dumps(CHEAP)], cwd=tmp_path,
        env={**environment(small_model), "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
