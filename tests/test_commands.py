"""Every command that a page shows can be typed: blocks of shell are shell, programs and their options exist, make has
the targets, addresses have the paths and the options. Other tests run many of them; here none is run."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer.main

from app.cli.commands import cli
from app.config import Settings, variable_name
from app.main import create_app
from app.registry import installed
from app.request import DetectionRequest
from app.vad.errors import InvalidOption
from tests import markdown

ROOT = Path(__file__).resolve().parent.parent
PAGES = [page for page in markdown.pages(ROOT) if page.name != "CHANGELOG.md"]
_SHELL = {"sh", "bash", "shell", "console"}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=.*")
_PUNCTUATION = {"|", "||", "&&", ";", "&", "(", ")", ">", ">>", "<", "2>", "2>&1"}
_PREFIXES = {"sudo", "exec", "time", "env", "do", "then", "!"}
_NOT_OPTIONS = {"file", "api_key"}
"""Of a form or a query, beside the options."""


@cache
def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(line as written, words) of each command in blocks of shell, and of each one in the text."""
    blocks = [block for language, block in markdown.fenced(page.read_text()) if language in _SHELL]
    told = [span for span in markdown.inline_code(markdown.prose(page.read_text())) if " " in span]
    found = [each for block in blocks for line in _lines(block) for each in _split(line)]
    starts = ("fsmn-vad ", "make ", "curl ", "python examples/", "sh examples/", "python -m benchmarks")
    return found + [each for span in told if span.startswith(starts) and span[-1] != "." for each in _split(span)]


def _lines(block: str) -> list[str]:
    return re.sub(r"\\\n", " ", block).splitlines()


def _split(line: str) -> Iterator[tuple[str, list[str]]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in _PUNCTUATION or set(word) <= set("|&;()<>"):
            if words:
                yield line, words
            words = []
        elif words or not (word in _PREFIXES or _VARIABLE.fullmatch(word)):
            words.append(word)


def of(page: Path, *programs: str) -> list[tuple[str, list[str]]]:
    return [(line, words) for line, words in commands(page) if words[0] in programs]


pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def test_commands_are_found() -> None:
    counted = {
        program: sum(len(of(page, program)) for page in PAGES) for program in ("fsmn-vad", "make", "curl", "python")
    }
    assert counted["fsmn-vad"] > 60
    assert counted["curl"] > 60
    assert counted["make"] > 40
    assert counted["python"] > 5


@pages
def test_blocks_of_shell_are_shell(page: Path) -> None:
    for language, block in markdown.fenced(page.read_text()):
        if language in _SHELL:
            checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, (block, checked.stderr)


@pages
def test_fsmn_vad_takes_what_is_written(page: Path) -> None:
    for line, words in of(page, "fsmn-vad"):
        arguments = [word for word in words[1:] if word not in ("…", "...")]
        command: Any = typer.main.get_command(cli)
        while arguments and hasattr(command, "commands"):
            if arguments[0].startswith("-"):
                break
            command = command.commands.get(arguments[0])
            assert command is not None, line
            arguments = arguments[1:]
        wanted = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        given = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
        given = [f"--{name[2:].replace('_', '-')}" if name.startswith("--") else name for name in given]
        assert set(given) <= {*wanted, "-h", "--help", "--version"}, line


@pages
def test_make_has_what_is_written(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) (?:\?=|:=)", makefile, re.MULTILINE)) | set(
        re.findall(r"\$\((?:or )?\$?\(?([A-Z_]+)", makefile)
    )
    settings = {variable_name(name) for name in Settings.model_fields}
    for line, words in of(page, "make"):
        arguments = iter(words[1:])
        for word in arguments:
            if word == "-C":
                next(arguments)
            elif "=" in word:
                assert word.partition("=")[0] in variables | settings, line
            elif re.fullmatch(r"[a-z][a-z-]*", word):
                assert word in targets, line


@cache
def paths() -> list[re.Pattern[str]]:
    app = create_app(Settings(model="unused"))
    written = [str(getattr(route, "path", "")) for route in app.routes]
    return [re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)) for path in [*written, "/docs", "/", "/vad/", "/vad/[^/]+"]]


@pages
def test_curl_asks_for_what_there_is(page: Path) -> None:
    registry = installed()
    for line, words in of(page, "curl"):
        addresses = [word for word in words if re.match(r"(https?://)?(localhost|127\.0\.0\.1):8000", word)]
        for address in addresses:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            path = parts.path or "/"
            assert any(known.fullmatch(path) for known in paths()), line
            if not path.startswith(("/vad", "/v1", "/analyses")):
                continue
            fields = [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-F", "--form")]
            given = dict(parse_qsl(parts.query)) | dict(field.partition("=")[::2] for field in fields)
            if "OPTIONS" in parts.query:
                continue
            # The address compatible with speaches takes any name of a model.
            others = {*_NOT_OPTIONS, "model"} if path.startswith("/v1") else _NOT_OPTIONS
            given = {name: value for name, value in given.items() if name not in others}
            wrong_on_purpose = "max_end_silence" in given  # the API's page shows the refusal
            try:
                DetectionRequest.refuse_unknown_names(given, registry.segmenters)
                DetectionRequest.parse(given)
            except InvalidOption:
                assert wrong_on_purpose, line
                continue
            assert given.get("format", "json") in registry.formats.names, line
            assert given.get("mode", "tight") in registry.segmenters.modes, line


@pages
def test_scripts_and_modules_exist(page: Path) -> None:
    for line, words in of(page, "python", "python3", "sh", "bash", "node"):
        named = next((word for word in words[1:] if not word.startswith("-")), None)
        if words[1:2] == ["-m"] and named is not None and named.split(".")[0] in ("benchmarks", "app", "tests"):
            place = ROOT / named.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), line
        elif named is not None and "/" in named and "." in named:
            assert (ROOT / named).exists() or (page.parent / named).exists(), line
