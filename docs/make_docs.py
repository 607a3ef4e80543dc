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
        "JSON: `format=json`",
        "The default. Times are integer milliseconds. `options` has the mode and all of its options in force.",
        "-F file=@vad_example.wav localhost:8000/vad",
        pretty=True,
    ),
    Example(
        "Lines during detection: `format=ndjson`",
        "One line per segment, as soon as the segment is complete. `progress` lines come at least every second or "
        "every twentieth of the audio. The last line is `summary`, or `error` if the file cannot be read to its end.",
        "-N -F file=@vad_example.wav 'localhost:8000/vad?format=ndjson'",
    ),
    Example("FunASR's format", "", "-F file=@vad_example.wav 'localhost:8000/vad?format=funasr'"),
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
    Example("Tight segments", "Close to the spoken words; see [options.md](options.md).",
            "-F file=@vad_example.wav -F mode=tight -F format=csv localhost:8000/vad"),
    Example("Frame probabilities", "One value for each 10 ms.",
            "-F file=@asr_example.wav -F probabilities=true localhost:8000/vad", pretty=True),
    Example("Keep, to try other options",
            "For some minutes `/analyses/{id}/segments?OPTIONS` gives new segments without another upload: from the "
            "same model, in any mode, and in any form that does not need the audio.",
            "-F file=@asr_example.wav -F keep=true localhost:8000/vad", pretty=True),
    Example("Your own segments in any of these forms",
            "`POST /render` writes your own segments. Each has `start_ms` and `end_ms`, and may have a `label` and a "
            "`channel`. If you have it, send `audio` from an answer: tiers then have the length of the file. A label "
            "is one line of at most 64 characters, without `=`, `+`, `-` or `@` at its beginning (they are removed, "
            "because spreadsheets read them as formulas). There may be 256 different labels.",
            "'localhost:8000/render?format=audacity' -d '{\"segments\": [{\"start_ms\": 820, \"end_ms\": 2340, "
            "\"label\": \"anna\"}]}'"),
    Example("Like speaches", "Silero's option names, and a bare array as the answer.",
            "-F file=@asr_example.wav -F model=any -F threshold=0.6 localhost:8000/v1/audio/speech/timestamps"),
    Example("A wrong option", "", "-F file=@asr_example.wav -F max_end_silence=500 localhost:8000/vad", pretty=True),
    Example("An option of another mode", "", "-F file=@asr_example.wav -F threshold=0.6 localhost:8000/vad",
            pretty=True),
    Example("Not audio", "", "--data-binary 'hello' localhost:8000/vad", pretty=True),
    Example("The models",
            "`available`: on this machine, loaded at its first use. `absent`: has to be downloaded first.",
            "localhost:8000/models", pretty=True),
    Example("The options",
            "JSON Schema of the options of each mode, and each model's defaults. Programs can draw their settings "
            "from it.",
            "localhost:8000/options", pretty=True),
    Example("Health", "200 when ready, else 503.", "localhost:8000/health", pretty=True),
]  # fmt: skip

HEAD = """# The API

Every request and every answer, as the service gives it:

```sh
curl -F file=@talk.wav localhost:8000/vad
```

`make docs` makes this page: the service gave each answer below to the request above it. Long answers are cut; ids and
timings are replaced by fixed ones.

- `POST /vad` takes the audio as form field `file`, or as the body. `POST /vad/` and `PUT /vad/NAME` (`curl -T`) do the
  same.
- Several fields `file` give an array: one answer or problem per file. In text formats the files follow [one after the
  other, or in a zip](chunks.md#forms-for-the-next-tool).
- [Options](options.md) are query parameters or form fields. A form field wins over the query.
- `format=` chooses the form of the answer. Without it the `Accept` header does; otherwise the answer is JSON.
- The service takes audio only from the request. It **does not fetch URLs**, so that nobody can use it to read what only
  it can reach. Send the content instead: `curl -s URL | curl --data-binary @- localhost:8000/vad`.

"""
WARNINGS = """## Warnings

A warning tells what was unusual about audio that was answered. Each has a `code` and a `detail`. They are in `warnings`
of JSON answers, the ndjson summary, live `done` and batch rows. Other answers have them in the headers `X-VAD-Warnings`
(codes) and `X-VAD-Warning-Details` (`[{"code": …, "detail": …}]`), the command line on stderr, the metrics in
`vad_warnings_total`.

| code | meaning |
| --- | --- |
"""
TAIL = """## The speech itself: `format=wav`, `format=zip`

`format=wav` gives all speech in one file, with the sample rate and channels of the source. `format=zip` has one WAV per
segment and `manifest.csv`. With `max_chunk_s` they contain chunks. Both are streamed from disk and may be of any size;
a WAV over 4 GiB is RF64. [chunks.md](chunks.md) explains `silence=zero`, `excerpt_rate`, `excerpt_channels`,
`min_excerpt_s` and `time_map`.

```sh
curl -F file=@vad_example.wav -F format=zip localhost:8000/vad -o speech.zip
```

## Channels

- `channel=mix` (default): the mean of all channels.
- `channel=0`, `channel=1` …: one channel.
- `channel=loudest`: the channel with the most energy, chosen every half second.
- `channel=split`: each channel by itself. Every segment has its `channel`. `channels` sums up each channel, with
  `silence_ms`, `overlap_ms` (speech while another channel speaks) and `interruptions` (segments that begin while
  another channel speaks). The same three numbers for the whole call stand beside it. `format=wav` gives a zip with a
  WAV per channel.

[audio.md](audio.md) explains file types, tracks, clocks and raw samples.

## Errors

Every error is `application/problem+json` (RFC 9457) with a `code` for programs and the `request_id` that the log has.

| status | code | when |
| ---: | --- | --- |
| 400 | `no_audio` | no file, or an empty one |
| 400 | `bad_request` | a malformed form |
| 401 | `unauthorized` | `VAD_API_KEYS` is set, and the key is missing or wrong; also for unknown paths |
| 403 | `foreign_origin` | a page of another origin opens a live stream (`VAD_CORS_ORIGINS`) |
| 404 | `no_such_analysis`, `no_such_session` | the analysis or session has expired, or is another client's |
| 406 | `not_acceptable` | no format matches `Accept` |
| 408 | `body_timeout`, `request_timeout` | the upload, or the request's headers, come too slowly |
| 413 | `upload_too_large` | larger than `VAD_MAX_UPLOAD_MB` |
| 415 | `unsupported_audio` | not audio, an unknown codec, or a Content-Encoding |
| 421 | `unknown_host` | the `Host` is not in `VAD_ALLOWED_HOSTS` |
| 422 | `invalid_audio` | damaged, empty, samples not finite, not 4-384 kHz, over 8 channels (one of 64) |
| 422 | `audio_too_long` | longer than `VAD_MAX_AUDIO_HOURS` |
| 422 | `invalid_option` | unknown, out of range, of another mode, or in conflict; `option` names it |
| 426 | `upgrade_required` | `GET /vad/stream` without a WebSocket handshake |
| 429 | `too_many_requests` | more requests than `VAD_RATE_LIMIT` |
| 503 | `overloaded`, `not_ready` | full, loading or stopping; `Retry-After` says when to try again |
| 504 | `deadline_exceeded` | the request took longer than `VAD_REQUEST_TIMEOUT_S` |
| 500 | `internal` | an error of the service; the log has it under the request id |

Audio without speech is not an error: 200 with `"segments": []`.

## Generated clients

Generators can make clients from `/openapi.json`. Tested are openapi-python-client, openapi-generator, orval and
hey-api. So that they work, the description leaves out some things that the service also accepts: defaults (they depend
on the model; each description names them), infinity (leave the option out), the body as bare bytes, options as form
fields, and answers that are not text (`ndjson`, `wav`, `zip`).

## For operators

| address | what |
| --- | --- |
| `GET /health` | the whole state |
| `GET /health/live` | 200 while the process answers |
| `GET /health/ready` | 200 when requests may be sent |
| `GET /metrics` | Prometheus metrics |
| `/docs`, `/openapi.json` | this API in Swagger UI and as OpenAPI |
| `GET /sample.wav` | half a minute of conversation to try; a synthetic voice if the build could not fetch it |

The service uses the `X-Request-ID` that you send, if it is valid, and always answers with one.
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
        "f1": report.f1_by_condition(told, ", tight", report.OF_PEERS) + day,
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
