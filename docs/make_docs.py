"""Makes what follows from the code and from kept results: docs/api.md, and the tables of options (in both languages),
audio, accuracy, performance, presets and the READMEs, and the diffs of ARCHITECTURE.md. None can go stale.

    python docs/make_docs.py            write them
    python docs/make_docs.py --check    exit 1 when they are not what would be written

The service has FSMN-VAD and Silero VAD. The example is the model card's `vad_example.wav`; it and the model are found
through VAD_REFERENCE_DATA.
"""

import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

sys.path.insert(0, str(DOCS))

from copied_tables import chinese_accuracy  # noqa: E402
from measured_tables import TABLES, tables  # noqa: E402
from model_table import readme  # noqa: E402
from toy_diffs import architecture_page  # noqa: E402
from words import CHINESE, ENGLISH, Words  # noqa: E402

from app.audio.containers import CODINGS, CONTAINERS  # noqa: E402
from app.audio.options import ENCODINGS  # noqa: E402
from app.vad.models.accuracy import MEASURED  # noqa: E402
from app.warnings import MEANINGS  # noqa: E402
from benchmarks.accuracy import report  # noqa: E402
from tests.server import RunningServer, local_server  # noqa: E402
from tools.reference_data import reference_folder  # noqa: E402

REFERENCE = reference_folder()
RESULTS = ROOT / "benchmarks" / "results"
SETTINGS = {"MODELSCOPE_CACHE": str(REFERENCE / "modelscope"), "VAD_MODELS": "silero"}
_SHOWN_LINES, _SHOWN_WIDTH = 14, 110
"""Of an answer: what fits beside its request without scrolling."""
_VOLATILE = [
    (r'"request_id": ?"[^"]*"', '"request_id": "5f0c6a1e9b3d4728"'),
    (r'"(queue|decode|inference|total)_ms": ?\d+', r'"\1_ms": 12'),
    (r'"rtf": ?[\d.e-]+', '"rtf": 0.0007'),
    (r'"uptime_s": ?[\d.]+', '"uptime_s": 3.2'),
    (r'"analysis_id": ?"[^"]*"', '"analysis_id": "wJ2nQ0aX8mY3kP5tR7vB1g"'),
    (r'"workers": ?\d+', '"workers": 2'),
    (r'"max_requests": ?\d+', '"max_requests": 16'),
    (r'"max_queue": ?\d+', '"max_queue": 32'),
    (r'"max_uploads": ?\d+', '"max_uploads": 192'),
]


@dataclass(frozen=True)
class Example:
    """One request, as a reader would type it."""

    title: str
    words: str
    curl: str
    """After `curl -s`, with localhost:8000 for the service."""
    pretty: bool = False


EXAMPLES = [
    Example(
        "Everything: `format=json`",
        "The default. Times are integer milliseconds; `options` repeats the mode and its options in force, whoever set "
        "them.",
        "-F file=@vad_example.wav localhost:8000/vad",
        pretty=True,
    ),
    Example(
        "While it is found: `format=ndjson`",
        "A line for each segment the moment it is complete, `progress` lines at least every second or twentieth of the "
        "audio, a `summary` last; `error` in its place when the file turns out damaged. Lines are numbered as found.",
        "-N -F file=@vad_example.wav 'localhost:8000/vad?format=ndjson'",
    ),
    Example("FunASR's form", "", "-F file=@vad_example.wav 'localhost:8000/vad?format=funasr'"),
    Example("CSV", "", "-H 'Accept: text/csv' -F file=@vad_example.wav localhost:8000/vad"),
    Example("Audacity labels", "", "-F file=@vad_example.wav -F format=audacity localhost:8000/vad"),
    Example("RTTM", "", "-F file=@vad_example.wav -F format=rttm localhost:8000/vad"),
    Example("SubRip", "", "-F file=@vad_example.wav -F format=srt localhost:8000/vad"),
    Example("WebVTT", "", "-F file=@vad_example.wav -F format=vtt localhost:8000/vad"),
    Example("Praat TextGrid", "", "-F file=@vad_example.wav -F format=textgrid localhost:8000/vad"),
    Example("Markdown", "Headings in Chinese, or English with `lang=en`.",
            "-F file=@vad_example.wav -F format=md localhost:8000/vad"),
    Example("Another model", "`model` takes any name that `GET /models` lists.",
            "-F file=@vad_example.wav -F model=silero -F format=csv localhost:8000/vad"),
    Example("Tight segments", "Close around what is spoken; see [options.md](options.md).",
            "-F file=@vad_example.wav -F mode=tight -F format=csv localhost:8000/vad"),
    Example("Frame probabilities", "One value for each 10 ms.",
            "-F file=@asr_example.wav -F probabilities=true localhost:8000/vad", pretty=True),
    Example("Kept for other options",
            "`analysis_id` serves `/analyses/{id}/segments?OPTIONS` for some minutes: the same model's segments in any "
            "mode and any form that needs no audio.",
            "-F file=@asr_example.wav -F keep=true localhost:8000/vad", pretty=True),
    Example("Segments of your own in any of these forms",
            "`POST /render` writes segments that you have corrected or that come from elsewhere. Each segment has "
            "`start_ms` and `end_ms`, and may have a `label` and a `channel`. Give `audio` as an answer has it if you "
            "can: tiers then last as long as the file. A label is one line of at most 64 characters; signs at its "
            "beginning that start a formula in a spreadsheet (`=`, `+`, `-`, `@`) are left out. There may be 256 "
            "different labels.",
            "'localhost:8000/render?format=audacity' -d '{\"segments\": [{\"start_ms\": 820, \"end_ms\": 2340, "
            "\"label\": \"anna\"}]}'"),
    Example("As speaches answers", "Silero's names in, a bare array out.",
            "-F file=@asr_example.wav -F model=any -F threshold=0.6 localhost:8000/v1/audio/speech/timestamps"),
    Example("A wrong option", "", "-F file=@asr_example.wav -F max_end_silence=500 localhost:8000/vad", pretty=True),
    Example("An option of another mode", "", "-F file=@asr_example.wav -F threshold=0.6 localhost:8000/vad",
            pretty=True),
    Example("Not audio", "", "--data-binary 'hello' localhost:8000/vad", pretty=True),
    Example("Which models there are",
            "`available`: at hand, loaded at its first use. `absent`: not without a download.",
            "localhost:8000/models", pretty=True),
    Example("Which options there are",
            "For each mode JSON Schema of its options, and what each model takes where none is given: what pages and "
            "programs can draw themselves from.",
            "localhost:8000/options", pretty=True),
    Example("Health", "200 when ready, else 503.", "localhost:8000/health", pretty=True),
]  # fmt: skip

HEAD = """# The API

Made by `make docs`: every answer below was given by the service to the request above it; long ones are cut, and ids and
timings replaced by fixed ones.

`POST /vad` takes audio as form field `file` (repeat it for several files: the answer is then an array, each file its
own answer or problem; of texts [one after the other or a zip](chunks.md#forms-for-the-next-tool)) or as the body
itself, and [options](options.md) as query parameters or form fields, the form winning. `POST /vad/`, and
`PUT /vad/NAME` as `curl -T` sends it, do the same. An answer's form is chosen by `format=`, else by `Accept`, else it
is JSON. Audio is taken from the request
alone: **a URL is not fetched**, because a service that fetches what strangers name can be made to read what only it
can reach.

"""
WARNINGS = """## Warnings

What was odd about the audio, or about how it was answered, though it was answered: `warnings` in JSON answers, in the
ndjson summary, in live `done` and in batch rows, each with a `code` and a `detail`; the header `X-VAD-Warnings` with
the codes on any answer of one piece, and `X-VAD-Warning-Details` with `[{"code": …, "detail": …}]`; stderr on the
command line; `vad_warnings_total` in the metrics.

| code | meaning |
| --- | --- |
"""
TAIL = """## The speech itself: `format=wav`, `format=zip`

`wav` is all speech as one file at the source's rate and channels; `zip` has a WAV for each segment and `manifest.csv`.
With `max_chunk_s` they hold chunks. Both stream from disk: their size is bounded by nothing here, and a WAV over 4 GiB
is RF64. `silence=zero`, `excerpt_rate`, `excerpt_channels`, `min_excerpt_s` and `time_map` are told in
[chunks.md](chunks.md).

```sh
curl -F file=@vad_example.wav -F format=zip localhost:8000/vad -o speech.zip
```

## Channels

`channel=mix` (default) is the mean of all channels, `channel=0` … one of them, `channel=loudest` in every half second
the one with the most energy, `channel=split` each by itself: every segment then carries its `channel`, and `channels`
sums each up, with `silence_ms`, `overlap_ms` (speech while another channel speaks) and `interruptions` (segments that
begin while another channel speaks already), which stand for the whole call beside it. `format=wav` is then a zip with a
WAV for each channel.

What is read, tracks, clocks and raw samples: [audio.md](audio.md).

## Errors

Every error is `application/problem+json` (RFC 9457) with a `code` for programs and the `request_id` that the log has.

| status | code | when |
| ---: | --- | --- |
| 400 | `no_audio` | no file, or an empty one |
| 400 | `bad_request` | a malformed form |
| 401 | `unauthorized` | keys are set (`VAD_API_KEYS`), and none or a wrong one was sent; also for unknown paths |
| 403 | `foreign_origin` | a page of another origin opens a live stream (`VAD_CORS_ORIGINS`) |
| 404 | `no_such_analysis`, `no_such_session` | a kept analysis, or a live session, is gone, or somebody else's |
| 406 | `not_acceptable` | no form of answer is of a type in `Accept` |
| 408 | `body_timeout`, `request_timeout` | the upload pauses, trickles or takes too long; so does a head |
| 413 | `upload_too_large` | over `VAD_MAX_UPLOAD_MB`, counted as it streams |
| 415 | `unsupported_audio` | not audio, an unknown coding, a Content-Encoding |
| 421 | `unknown_host` | the `Host` is none of `VAD_ALLOWED_HOSTS` |
| 422 | `invalid_audio` | damaged, no frames, samples not finite, rates outside 4-384 kHz, over 8 channels (one of 64) |
| 422 | `audio_too_long` | over `VAD_MAX_AUDIO_HOURS`, counted in decoded samples |
| 422 | `invalid_option` | unknown, of another mode, out of range or contradicting; `option` names it |
| 426 | `upgrade_required` | `GET /vad/stream` without a WebSocket's handshake |
| 429 | `too_many_requests` | over `VAD_RATE_LIMIT` |
| 503 | `overloaded`, `not_ready` | full, loading or stopping; `Retry-After` says when to try again |
| 504 | `deadline_exceeded` | longer than `VAD_REQUEST_TIMEOUT_S` |
| 500 | `internal` | anything else; the log has it under the request id |

No speech is no error: 200 with `"segments": []`.

## Clients made by generators

`/openapi.json` is written for programs that make clients of it: openapi-python-client, openapi-generator, orval and
hey-api make clients that upload a file and read the answer as they come. So it leaves out what they stumble over:
defaults (which depend on the model; each description tells them), infinity (leave the option out), the body as bare
bytes, options in forms, and the answers that are no text (`ndjson`, `wav`, `zip`). The service takes and gives all of
that none the less.

## For operators

`GET /health` (all), `/health/live` (the process answers), `/health/ready` (send requests here), `GET /metrics`
(Prometheus), `/docs` (Swagger UI, from the service itself) and `/openapi.json`. `GET /sample.wav` is half
a minute of people talking, to try things with; where the build could not fetch that, a synthetic voice.
`X-Request-ID` is taken when it is sane, and always answered.
"""


def answer(server: RunningServer, example: Example) -> str:
    """What the service says, made stable and short."""
    audio = REFERENCE / "audio"
    command = f"curl -s {example.curl}".replace("localhost:8000", server.url.removeprefix("http://"))
    text = subprocess.run(["/bin/sh", "-c", command], cwd=audio, capture_output=True, text=True, check=True).stdout
    if example.pretty:
        text = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
        text = re.sub(r"\[\s+([\d.,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
        text = re.sub(r"\{\s+([^{}]*?)\s+\}", lambda found: f"{{{' '.join(found[1].split())}}}", text)
    for pattern, replacement in _VOLATILE:
        text = re.sub(pattern, replacement, text)
    return "\n".join(_shortened(text.splitlines()))


def _shortened(lines: list[str]) -> Iterator[str]:
    kept = lines if len(lines) <= _SHOWN_LINES else [*lines[: _SHOWN_LINES - 3], "…", *lines[-2:]]
    for line in kept:
        yield line if len(line) <= _SHOWN_WIDTH else f"{line[: _SHOWN_WIDTH - 1]}…"


def api_page(server: RunningServer) -> str:
    """docs/api.md, with every answer asked for anew."""
    parts = [HEAD]
    for example in EXAMPLES:
        words = f"{textwrap.fill(example.words, 120)}\n\n" if example.words else ""
        shown = answer(server, example)
        parts.append(f"## {example.title}\n\n{words}```sh\ncurl -s {example.curl}\n```\n\n```\n{shown}\n```\n\n")
    warnings = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in MEANINGS.items())
    return "".join(parts) + WARNINGS + warnings + "\n" + TAIL


def option_tables(server: RunningServer, words: Words) -> str:
    """A table for each mode: every option with its default, model by model where they differ, range and meaning."""
    with server.client() as client:
        told = client.get("/options").json()
    modes = [
        f"### `mode={mode['mode']}`{words.uses[mode['use']]}\n\n{words.title(mode)}\n\n{_table(mode, told, words)}"
        for mode in told["modes"]
    ]
    chunks = {"mode": "", "use": None, "options": told["chunks"]}
    return "\n\n".join([*modes, f"{words.chunks}\n\n{_table(chunks, told, words)}"])


def _table(mode: dict[str, Any], told: dict[str, Any], words: Words) -> str:
    models = {
        name: model["defaults"][mode["mode"]] for name, model in told["models"].items() if model["use"] == mode["use"]
    }
    lines = [f"| {' | '.join(words.head)} |", "| --- | --- | --- | --- | --- |"]
    for name, schema in mode["options"].items():
        plain = schema.get("default", words.none)
        values = {model: str(defaults.get(name, plain)).lower() for model, defaults in models.items()}
        usual = values.get(told["default_model"], str(plain).lower())
        others = (f"`{model}` {value}" for model, value in values.items() if value != usual)
        default = words.comma.join([usual, *others])
        unit = words.unit(schema.get("unit", ""))
        lines.append(f"| `{name}` | {default} | {_range(schema, words)} | {unit} | {words.meaning(name, schema)} |")
    return "\n".join(lines)


def _range(schema: dict[str, Any], words: Words) -> str:
    if schema.get("type") == "boolean":
        return "true, false"
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    number = next((part for part in schema.get("anyOf", []) if "minimum" in part), schema)
    low = number.get("minimum", number.get("exclusiveMinimum"))
    high = number.get("maximum", number.get("exclusiveMaximum"))
    return (
        f"{words.above if 'exclusiveMinimum' in number else ''}{low:.12g} – {'∞' if high is None else f'{high:.12g}'}"
    )


def options_page(server: RunningServer, page: Path, words: Words) -> str:
    """docs/options.md, or the Chinese one, with its tables made anew."""
    text = page.read_text()
    tables = f"<!-- tables -->\n\n{option_tables(server, words)}\n\n<!-- /tables -->"
    return re.sub(r"<!-- tables -->.*<!-- /tables -->", lambda _: tables, text, flags=re.DOTALL)


def audio_page() -> str:
    """docs/audio.md with its tables made anew from the lists that bind the decoder."""
    kinds = "\n".join(
        f"| {kind.title} | {' '.join(f'`{suffix}`' for suffix in kind.suffixes)} | `{kind.name}` |"
        for kind in CONTAINERS
    )
    codings = "\n".join(f"- {name}" for name in CODINGS)
    raw = ", ".join(f"`{name}`" for name in ENCODINGS)
    made = {
        "containers": f"| container | usual endings | `audio.format` |\n| --- | --- | --- |\n{kinds}",
        "codings": codings,
        "raw": raw,
    }
    return _with_blocks("audio.md", made)


def measured_pages() -> dict[str, str]:
    """Every page that shows figures of speed, memory or load, with its tables made anew from kept results."""
    return {f"docs/{page}": _with_blocks(page, tables(page)) for page in TABLES}


def accuracy_pages() -> dict[str, str]:
    """docs/accuracy.md, and the presets of docs/chunks.md, with their tables made anew from what was kept of a run."""
    told = json.loads((RESULTS / "accuracy.json").read_text())
    day = f"\n\n*{told['about']['taken'][:10]}*"
    best = max(accuracy.frame_f1 for accuracy in MEASURED.values())
    measured = [
        f"| `{'+'.join(names)}` | {f'**{each.frame_f1:.3f}**' if each.frame_f1 == best else f'{each.frame_f1:.3f}'} "
        f"| {each.threshold:.2f} / {each.neg_threshold:.2f} |"
        for names, each in MEASURED.items()
    ]
    made = {
        "measured": "\n".join(
            ["| model | mean frame F1 | `threshold` / `neg_threshold` |", "| --- | ---: | --- |", *measured]
        ),
        "f1": report.f1_by_condition(told, ", tight") + day,
        "modes": report.modes(told) + day,
        "probabilities": report.probability_means(told) + day,
        "sounds": report.shares(json.loads((RESULTS / "sounds.json").read_text())),
    }
    presets = {"presets": report.f1_by_condition(told, prefix="preset ") + day}
    return {
        "docs/accuracy.md": _with_blocks("accuracy.md", made),
        "docs/chunks.md": _with_blocks("chunks.md", presets),
    }


def _with_blocks(page: str, made: dict[str, str]) -> str:
    """A page with what stands between `<!-- name -->` and `<!-- /name -->` made anew."""
    text = (DOCS / page).read_text()
    for name, content in made.items():
        block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def made_pages() -> dict[str, str]:
    """Every page that is made, by its name, as it should be."""
    with tempfile.TemporaryDirectory() as folder, local_server("fsmn", Path(folder), SETTINGS) as server:
        with server.client() as client:
            models = client.get("/models").json()["models"]
        english = accuracy_pages()
        return {
            **{name: readme(name, models) for name in ("README.md", "README.zh.md")},
            "docs/api.md": api_page(server),
            "docs/options.md": options_page(server, DOCS / "options.md", ENGLISH),
            "docs/zh/options.md": options_page(server, DOCS / "zh/options.md", CHINESE),
            **english,
            "docs/zh/accuracy.md": chinese_accuracy(english["docs/accuracy.md"]),
            "docs/audio.md": audio_page(),
            **measured_pages(),
            "ARCHITECTURE.md": architecture_page(),
        }


def stale_pages() -> list[str]:
    """Names of those that are not so."""
    return [name for name, text in made_pages().items() if (ROOT / name).read_text() != text]


def main() -> int:
    """Write the pages, or with `--check` say which are stale."""
    if "--check" in sys.argv:
        stale = stale_pages()
        print(f"stale: {', '.join(stale)}; run make docs" if stale else "docs are true")
        return 1 if stale else 0
    for name, text in made_pages().items():
        (ROOT / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
