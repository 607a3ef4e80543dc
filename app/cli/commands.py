"""The commands and their options. What they do is in the modules beside this one; `serve` itself is `app.server`'s."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import __version__
from app.cli.flags import CONTEXT, SectionedCommand, with_file_flags, with_stream_flags
from app.extras import missing

if TYPE_CHECKING:
    from app.config import Settings

cli = typer.Typer(
    name="fsmn-vad",
    help="Voice activity detection with DAMO's FSMN-VAD and others: audio in, speech segments out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)
model_cli = typer.Typer(
    help="List, find, download, check or bundle models.", no_args_is_help=True, rich_markup_mode=None
)
cli.add_typer(model_cli, name="model")
Speed = Literal["realtime", "full"]

Key = Annotated[str | None, typer.Option(envvar="VAD_API_KEY", help="The server's key.")]
ModelName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="As --model of the other commands. Default: VAD_MODEL.")
]


def _require(extra: str, *modules: str) -> None:
    """End the command, saying what to type, when packages are not installed that it needs and that serving does not."""
    from app.cli.terminal import WRONG_USAGE, failed

    if (advice := missing(extra, *modules)) is not None:
        raise typer.Exit(failed(advice, WRONG_USAGE))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fsmn-vad {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None: ...


@cli.command(cls=SectionedCommand)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (VAD_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one (VAD_PORT).")] = None,
    model: Annotated[str | None, typer.Option(help="The default model (VAD_MODEL).")] = None,
    models: Annotated[
        str | None, typer.Option(help="Models that requests may name, comma-separated, or auto (VAD_MODELS).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N (VAD_DEVICE).")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that score (VAD_WORKERS).")] = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting (VAD_*) and exit.")] = False,
) -> None:
    """Serve HTTP until stopped. Every setting is an environment variable VAD_*, or a line of a .env file."""
    from app.cli.terminal import run_command

    if settings:
        _print_settings()
        return
    given = {"host": host, "port": port, "model": model, "models": models, "device": device, "workers": workers}
    raise typer.Exit(run_command(_serve, {name: value for name, value in given.items() if value is not None}))


def _serve(settings: "Settings") -> int:
    from app.cli.terminal import ALL_WELL, NO_ADDRESS, NO_MODEL, failed
    from app.server.serve import CannotListen, FailedStart, serve

    try:
        serve(settings)
    except CannotListen as error:
        return failed(error, NO_ADDRESS)  # not the status of a missing model: trying again may help
    except FailedStart as error:
        from app.main import FORESEEN, log_failed_start

        reason = error.__cause__ or error
        if isinstance(reason, Exception) and not isinstance(reason, FORESEEN):
            log_failed_start(reason)  # with a traceback: the fault is ours
        # Not in a log line: what it says to do takes several lines.
        return failed(f"\nfsmn-vad could not start.\n{reason}", NO_MODEL)
    return ALL_WELL


def _print_settings() -> None:
    from rich.console import Console
    from rich.table import Table

    from app.config import Settings, variable_name

    table = Table("variable", "default", "meaning", title="Settings: environment variables, or lines of a .env file")
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        table.add_row(variable_name(name), "" if default in (None, "", [], {}) else shown, field.description)
    Console().print(table)


@cli.command(cls=SectionedCommand)
def health(
    url: Annotated[str | None, typer.Option(help="Base URL; default: VAD_HOST and VAD_PORT here.")] = None,
) -> None:
    """Exit 0 when the service here is ready, else 1: for container health checks."""
    from app.cli import terminal

    raise typer.Exit(terminal.health(url))


@cli.command(cls=SectionedCommand)
@with_file_flags()
def detect(
    sources: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, folders, globs, pipes; - is stdin.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for one result file per input, in the tree of the inputs."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time.")] = 2,
    url: Annotated[str | None, typer.Option(help="Use the server at this URL instead of this machine.")] = None,
    key: Key = None,
    options: dict[str, Any],
) -> None:
    """Find speech in audio files. Exit status: 0 all well, 1 some file failed, 2 wrong usage, 3 no model."""
    if url is not None:
        _require("cli", "httpx")
    from app.cli.detect import run

    raise typer.Exit(run(sources, options, folder=out, jobs=jobs, url=url, key=key))


@cli.command(cls=SectionedCommand)
@with_stream_flags
def stream(
    source: Annotated[str | None, typer.Argument(metavar="FILE", help="A file or a pipe; - is stdin.")] = None,
    *,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone (needs the extra mic).")] = False,
    url: Annotated[str | None, typer.Option(help="Use the server at this ws:// or http:// URL.")] = None,
    service: Annotated[bool, typer.Option("--service", help="Use the server at VAD_HOST and VAD_PORT.")] = False,
    key: Key = None,
    speed: Annotated[Speed, typer.Option(help="How fast a file is sent.")] = "full",
    encoding: Annotated[
        str | None,
        typer.Option(help="Coding of raw samples (default pcm_s16le): pcm_f32le, mulaw, alaw …"),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz of raw samples and of the microphone. Default: 16000; 8000 for mulaw, alaw.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=8, help="Channels of raw samples.")] = 1,
    channel: Annotated[str, typer.Option(help="Which of several channels: mix, loudest, or an index from 0.")] = "mix",
    chunk_ms: Annotated[int, typer.Option(min=10, max=1_000, help="Sound sent at a time.")] = 100,
    json_: Annotated[bool, typer.Option("--json", help="A line of JSON for each event, on a terminal too.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also as JSON, ten a second.")] = False,
    options: dict[str, Any],
) -> None:
    """Tell where speech begins and ends while it is heard, on this machine or a server. Exit status as of detect."""
    from app.cli.stream import StreamCommand, run

    asked = {
        **options, "encoding": encoding, "sample_rate": sample_rate, "channels": channels, "channel": channel,
        "probabilities": probabilities,
    }  # fmt: skip
    command = StreamCommand(
        asked=asked, source=source, mic=mic, chunk_ms=chunk_ms, speed=speed, json=json_, url=url, service=service,
        key=key,
    )  # fmt: skip
    raise typer.Exit(run(command))


@cli.command(cls=SectionedCommand)
@with_file_flags(without=("format", "keep"))
def batch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, glob or file; fsspec's s3://… too.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="Folder for the results; s3://… too.")],
    *,
    format_: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", "-f", help="Of the results.")] = "jsonl",
    per_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="Also in this format of detect, a result for each file in DEST/files; may be repeated.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Engines; default: the cores, or the cluster's.")] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: auto, HOST:PORT or local.")] = None,
    shard_files: Annotated[int, typer.Option(min=1, help="At most this many files in one result file.")] = 512,
    shard_mb: Annotated[
        int, typer.Option(min=1, help="MiB. At most this much stored audio for one result file.")
    ] = 1024,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the results that are in DEST.")] = False,
    options: dict[str, Any],
) -> None:
    """Find speech in a whole collection; started again, it goes on where it stopped. Exit status as of detect."""
    _require("batch", "fsspec")
    from app.cli.batch import run

    ended = run(
        source, destination, options, form=format_, per_file=per_file or (), workers=workers, ray=ray,
        shard_files=shard_files, shard_mb=shard_mb, overwrite=overwrite,
    )  # fmt: skip
    raise typer.Exit(ended)


@cli.command(cls=SectionedCommand)
def tune(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Audio with labels, in any form of docs/accuracy.md.")
    ],
    *,
    models: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Models and sums to try. Default: all on this machine.")
    ] = None,
    objective: Annotated[
        Literal["f1", "recall", "precision", "boundaries"],
        typer.Option(
            help="What to optimise: F1 of frames, the same with more weight on recall (F2) or on precision (F0.5), or "
            "the distance to the labels' edges."
        ),
    ] = "f1",
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also test the files as: clean, telephone, white:5, pink:0, music:5, level:-30, noise.wav:0; may be "
            "repeated. Default: only clean.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the preset is written; other presets in the file stay.")
    ] = Path("presets.json"),
    name: Annotated[str, typer.Option(help="What the preset is called.")] = "tuned",
    force: Annotated[
        bool, typer.Option("--force", help="Write it even from under two minutes of speech or under five files.")
    ] = False,
) -> None:
    """Fit models' settings to your own labelled audio, and write the best as a preset (VAD_PRESETS). Exit status as of
    detect."""
    _require("tune", "scipy", "praatio")
    from app.cli.tune import run

    asked = [each.strip() for each in (models or "").split(",") if each.strip()]
    raise typer.Exit(
        run(folder, models=asked, objective=objective, conditions=condition or (), out=out, name=name, force=force)
    )


@model_cli.command("list", cls=SectionedCommand)
def model_list() -> None:
    """Show every model that has a name here, and whether it is at hand without a download."""
    from app.cli import model as command

    raise typer.Exit(command.list_models())


@model_cli.command("path", cls=SectionedCommand)
def model_path(name: ModelName = None) -> None:
    """Print where the model's files are, if they are here."""
    from app.cli import model as command

    raise typer.Exit(command.path(name))


@model_cli.command("download", cls=SectionedCommand)
def model_download(name: ModelName = None) -> None:
    """Download the model into MODELSCOPE_CACHE, if it is not there yet."""
    from app.cli import model as command

    raise typer.Exit(command.download(name))


@model_cli.command("verify", cls=SectionedCommand)
def model_verify(name: ModelName = None) -> None:
    """Check the model's files, shapes and fingerprint."""
    from app.cli import model as command

    raise typer.Exit(command.verify(name))


@model_cli.command("export", cls=SectionedCommand)
def model_export(
    target: Annotated[
        list[str], typer.Argument(metavar="[NAME] DIR", help="Which model, and where; VAD_MODEL can then name DIR.")
    ],
) -> None:
    """Copy the model's files into a directory, for a machine without the hub."""
    from app.cli import model as command

    if len(target) > 2:
        raise typer.BadParameter("one name and one directory at most", param_hint="[NAME] DIR")
    *name, directory = target
    raise typer.Exit(command.export(name[0] if name else None, Path(directory)))
