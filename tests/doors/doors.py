"""Every door that takes a file, with one and the same handle: what is asked goes in as text, what is answered comes out
in a form that can be compared.

A door is a function from the house, options, forms of answer and a set of sounds to what was said of each file in each
form. Options go in under their names on the wire; each door says them in its own way.
"""

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import typer.main

from app.cli.commands import cli
from app.registry import installed
from app.warnings import MEANINGS
from tests.cli.calling import Ended, call
from tests.doors.house import FORM_CANNOT, House

OFFERED = installed().formats
READING = ("channel", "track", "clock", "encoding", "sample_rate", "channels", "model", "preset")
"""Options that a kept analysis has settled, beside those that are about what is told of it."""


@dataclass(frozen=True)
class Said:
    """What a door said of one file in one form."""

    answer: Any = None
    """Made comparable; None where there is none."""
    refused: str | None = None
    """The words of the refusal."""
    warnings: tuple[str, ...] = ()
    """Codes of what was odd."""
    mapped: Any = None
    """The time map that goes beside a WAV, if it was asked for."""


Asked = Mapping[str, str]
Found = dict[tuple[str, str], Said]
"""By the file's name and the form's."""
Door = Callable[[House, Asked, Sequence[str], str], Found]
"""(house, options, forms, set of sounds)."""


def over_http_raw(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """The file is the body; what is asked stands in the query."""

    def send(client: httpx.Client, path: Path, form: str) -> httpx.Response:
        return client.post("/vad", params={**options, "format": form}, content=path.read_bytes(), headers=named(path))

    return _over_http(house, send, options, forms, sounds)


def named(path: Path) -> dict[str, str]:
    """The header by which a body has a file's name; bytes of the name that are not UTF-8 go as they are."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(os.fsencode(path.name), safe='')}"}


def over_http_form(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """The file is a field of a form, and so is what is asked; the other fields are sent empty, as browsers do."""
    blank = dict.fromkeys(("model", "preset", "mode", "channel", "track", "keep", "max_chunk_s", "lang"), "")

    def send(client: httpx.Client, path: Path, form: str) -> httpx.Response | None:
        if path.name in FORM_CANNOT:
            return None
        fields = {**blank, **options, "format": form}
        return client.post("/vad", data=fields, files={"file": (path.name, path.read_bytes())})

    return _over_http(house, send, options, forms, sounds)


def kept(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """The file is sent once, to be kept; then its segments are asked for in every form that needs no audio."""
    first = {name: value for name, value in options.items() if name in READING}
    identifiers: dict[str, str] = {}

    def send(client: httpx.Client, path: Path, form: str) -> httpx.Response:
        if path.name not in identifiers:
            answer = client.post(
                "/vad", params={**first, "keep": "true"}, content=path.read_bytes(), headers=named(path)
            )
            if answer.status_code != 200:
                return answer
            identifiers[path.name] = answer.json()["analysis_id"]
        return client.get(f"/analyses/{identifiers[path.name]}/segments", params={**options, "format": form})

    told = [form for form in forms if not (OFFERED[form].needs_audio or OFFERED[form].streams)]
    return _over_http(house, send, options, told, sounds)


def _over_http(
    house: House,
    send: Callable[[httpx.Client, Path, str], httpx.Response | None],
    options: Asked,
    forms: Sequence[str],
    sounds: str,
) -> Found:
    found: Found = {}
    with house.server.client() as client:
        for path in house.files(sounds):
            for form in forms:
                answer = send(client, path, form)
                if answer is None:
                    continue
                codes = tuple(filter(None, answer.headers.get("x-vad-warnings", "").split(", ")))
                mapped = answer.headers.get("x-vad-time-map")
                if answer.status_code == 200:
                    found[path.name, form] = Said(
                        comparable(form, answer.content, options),
                        warnings=codes or _codes_in(form, answer.content),
                        mapped=None if mapped is None else _triples(mapped),
                    )
                else:
                    found[path.name, form] = Said(refused=answer.json()["detail"])
    return found


def command_line(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """`fsmn-vad detect` with the service's settings, and no service."""
    return _command_line(house, options, forms, sounds)


def command_line_through_the_service(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """`fsmn-vad detect --url` where there is no model."""
    return _command_line(house, options, forms, sounds, "--url", house.server.url)


def _command_line(house: House, options: Asked, forms: Sequence[str], sounds: str, *more: str) -> Found:
    found: Found = {}
    paths = house.files(sounds)
    for form in forms:
        out = fresh_folder(house)
        said_so = [f"--format={form}", f"--out={out}", *flags("detect", options), *more]
        ended = run_command(house, "detect", *paths, *said_so, alone=not more)
        for path in paths:
            found[path.name, form] = _from_terminal(
                ended, path, out / result_name(path.name, form, options), form, options
            )
    return found


def _from_terminal(ended: Ended, path: Path, result: Path, form: str, options: Asked) -> Said:
    lines = re.findall(rf"^{re.escape(str(path))}: (.*)$", ended.message, re.MULTILINE)
    codes = tuple(dict.fromkeys(code for line in lines if (code := line.partition(":")[0]) in MEANINGS))
    if not result.is_file():
        return Said(refused="\n".join(lines) or ended.message)
    map_file = result.with_name(f"{result.name}.map.json")
    mapped = json.loads(map_file.read_text()) if map_file.is_file() else None
    return Said(comparable(form, result.read_bytes(), options), warnings=codes, mapped=mapped)


def batch(house: House, options: Asked, forms: Sequence[str], sounds: str) -> Found:
    """`fsmn-vad batch`, with every form for each file."""
    out = fresh_folder(house)
    each = [f"--per-file={form}" for form in forms]
    ended = run_command(house, "batch", house.sounds / sounds, out, "--workers=1", *each, *flags("batch", options))
    lines = [line for file in out.glob("segments-*") for line in file.read_text("utf-8").splitlines()]
    rows = {row["path"]: row for row in map(json.loads, lines)}
    found: Found = {}
    for path in house.files(sounds):
        row = rows.get(os.fsencode(path.name).decode(errors="replace"))
        for form in forms:
            result = out / "files" / f"{path.name}.{extension(form, options)}"
            if row is None or row["error"] is not None or not result.is_file():
                found[path.name, form] = Said(refused=ended.message if row is None else str(row["error"]))
                continue
            map_file = result.with_name(f"{result.name}.map.json")
            found[path.name, form] = Said(
                comparable(form, result.read_bytes(), options),
                warnings=tuple(dict.fromkeys(warning["code"] for warning in row["warnings"])),
                mapped=json.loads(map_file.read_text()) if map_file.is_file() else None,
            )
    return found


DOORS: Mapping[str, Door] = {
    "form": over_http_form,
    "command line": command_line,
    "command line with --url": command_line_through_the_service,
    "batch": batch,
    "kept analysis": kept,
}
"""Those that are held to what a raw body is answered."""


def agree(
    house: House, options: Asked, forms: Sequence[str], sounds: str, doors: Sequence[str] = tuple(DOORS), note: str = ""
) -> None:
    """Hold doors to what a raw body is answered. Raises AssertionError that tells all differences."""
    told = differences(house, options, forms, sounds, doors)
    assert not told, "\n".join([note, *told])


def differences(
    house: House, options: Asked, forms: Sequence[str], sounds: str, doors: Sequence[str] = tuple(DOORS)
) -> list[str]:
    """Where a door says something else than a raw body is answered."""
    expected = over_http_raw(house, options, forms, sounds)
    told: list[str] = []
    for name in doors:
        for (file, form), said in DOORS[name](house, options, forms, sounds).items():
            told += (f"{name}, {form} of {file!r}: {what}" for what in _unlike(expected[file, form], said))
    return told


def _unlike(expected: Said, said: Said) -> list[str]:
    if expected.refused is not None:
        if said.refused is None:
            return [f"answered, where the service refuses: {expected.refused}"]
        return (
            [] if expected.refused in said.refused else [f"{_excerpt(said.refused)}, not {_excerpt(expected.refused)}"]
        )
    if said.refused is not None:
        return [f"refused: {_excerpt(said.refused)}"]
    return [
        f"{member} {_excerpt(mine)} where the service has {_excerpt(theirs)}"
        for member in ("answer", "warnings", "mapped")
        for mine, theirs in [_apart(getattr(said, member), getattr(expected, member))]
        if mine != theirs
    ]


def _apart(mine: Any, theirs: Any) -> tuple[Any, Any]:
    """The parts of two values that differ."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = [name for name in {**mine, **theirs} if mine.get(name, "nothing") != theirs.get(name, "nothing")]
        return {name: mine.get(name, "nothing") for name in names}, {
            name: theirs.get(name, "nothing") for name in names
        }
    if isinstance(mine, bytes) and isinstance(theirs, bytes) and mine != theirs:
        at = next((at for at, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
        start = min(len(mine), len(theirs)) if at is None else at
        start = max(0, start - 40)
        return mine[start:], theirs[start:]
    return mine, theirs


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"


# ---- what is compared


_UNLIKE = ("request_id", "timing", "device", "analysis_id")
"""Members of an answer that say who computed it, and when."""


def comparable(form: str, content: bytes, options: Asked) -> Any:
    """Bring an answer to what every door has to give: the bytes, but for JSON documents, where members that differ from
    one run to the next are left out, and archives, whose members count."""
    if form == "json":
        return _comparable_document(json.loads(content))
    if form == "ndjson":
        lines = [json.loads(line) for line in content.splitlines()]
        return [_comparable_document(line) for line in lines if line["type"] != "progress"]
    if form == "zip" or (form == "wav" and options.get("channel") == "split"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return content


def _comparable_document(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _UNLIKE}


def _codes_in(form: str, content: bytes) -> tuple[str, ...]:
    """An answer that is written while the file is read has its warnings in its last line."""
    if form != "ndjson":
        return ()
    summary = json.loads(content.splitlines()[-1])
    return tuple(dict.fromkeys(warning["code"] for warning in summary["warnings"]))


def _triples(header: str) -> list[list[float]]:
    return [[float(number) for number in stretch.split(",")] for stretch in header.split(";") if stretch]


def extension(form: str, options: Asked) -> str:
    """What a result's name ends in."""
    chosen = OFFERED[form]
    if options.get("channel") == "split" and chosen.split is not None:
        chosen = chosen.split
    return chosen.extension


def result_name(name: str, form: str, options: Asked) -> str:
    """Where `detect --out` writes a file's result."""
    return f"{Path(name).stem}.{extension(form, options)}"


# ---- how a command is told


@cache
def parameters(command: str) -> dict[str, Any]:
    """The options of a command, as click has them, by their names on the wire."""
    group: Any = typer.main.get_command(cli)
    options = [each for each in group.commands[command].params if each.param_type_name == "option"]
    return {each.name.rstrip("_"): each for each in options}


def flags(command: str, options: Asked) -> list[str]:
    """Say options as flags of a command."""
    return [_flag(parameters(command)[name], value) for name, value in options.items()]


def _flag(option: Any, value: str) -> str:
    if option.is_flag:
        return str(option.opts[0] if value == "true" else option.secondary_opts[0])
    return f"{option.opts[0]}={value}"


def run_command(house: House, *arguments: str | Path, alone: bool = True, stdin: bytes = b"") -> Ended:
    """Call the command line: with the service's settings, or, where it asks the service, with none that could help."""
    if alone:
        return call(house.model, *arguments, stdin=stdin, **house.settings)
    return call(house.scratch / "no model", *arguments, stdin=stdin)


def fresh_folder(house: House) -> Path:
    """A folder that is not there yet."""
    folder = house.scratch / "results"
    shutil.rmtree(folder, ignore_errors=True)
    return folder
