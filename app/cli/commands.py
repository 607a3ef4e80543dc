"""The commands and their options. What they do is in the modules beside this one; `serve` itself is `app.server`'s."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import __version__
from app.cli.flags import CONTEXT, with_file_flags, with_stream_flags
from app.cli.help import CliCommand, CliGroup
from app.extras import missing

if TYPE_CHECKING:
    from app.config import Settings

cli = typer.Typer(
    name="fsmn-vad",
    cls=CliGroup,
    help="Voice activity detection with FSMN-VAD and other models: audio in, speech segments out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)
model_cli = typer.Typer(
    cls=CliGroup, help="List, find, download, check or copy models.", no_args_is_help=True, rich_markup_mode=None
)
cli.add_typer(model_cli, name="model")
Speed = Literal["realtime", "full"]

Key = Annotated[str | None, typer.Option(envvar="VAD_API_KEY", help="The API key of the server.")]
ModelName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="A model, as for --model of the other commands. Default: VAD_MODEL."),
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@cli.command(cls=CliCommand)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (VAD_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one (VAD_PORT).")] = None,
    model: Annotated[str | None, typer.Option(help="The default model (VAD_MODEL).")] = None,
    models: Annotated[
        str | None, typer.Option(help="Models that requests may name, comma-separated, or auto (VAD_MODELS).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N (VAD_DEVICE).")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of threads that run the models (VAD_WORKERS).")] = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting (VAD_*) and exit.")] = False,
) -> None:
    """Serve HTTP until stopped. Every setting is an environment variable VAD_*, or a line in a .env file."""
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
    from shutil import get_terminal_size

    from app.cli.help import section
    from app.cli.language import say, sentences
    from app.config import Settings, variable_name

    records = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        parts = [say(field.description or "")]
        if default not in (None, "", [], {}):
            parts.append(say("Default: {default}{limits}.", default=shown, limits=""))
        records.append((variable_name(name), sentences(parts)))
    title = say("Settings: environment variables, or lines of a .env file")
    typer.echo(section(title, records, get_terminal_size().columns), nl=False)


@cli.command(cls=CliCommand)
def health(
    url: Annotated[
        str | None, typer.Option(help="Base URL of the service. Default: VAD_HOST and VAD_PORT on this machine.")
    ] = None,
) -> None:
    """Tell whether the service is ready, for health checks of containers. Exit status: 0 ready, 1 not ready."""
    from app.cli import terminal

    raise typer.Exit(terminal.health(url))


@cli.command(cls=CliCommand)
@with_file_flags()
def detect(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, folders, globs or pipes; - is stdin.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the results: one file per input, in the same folder tree as the inputs."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Number of files to process at a time.")] = 2,
    url: Annotated[str | None, typer.Option(help="Use the server at this URL instead of this machine.")] = None,
    key: Key = None,
    options: dict[str, Any],
) -> None:
    """Find speech in audio files. Exit status: 0 success, 1 a file failed, 2 wrong usage, 3 no model."""
    if url is not None:
        _require("cli", "httpx")
    from app.cli.detect import run

    raise typer.Exit(run(sources, options, folder=out, jobs=jobs, url=url, key=key))


@cli.command(cls=CliCommand)
@with_stream_flags
def stream(
    source: Annotated[str | None, typer.Argument(metavar="FILE", help="A file or a pipe; - is stdin.")] = None,
    *,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone. Needs the extra mic.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Use the server at this ws:// or http:// URL instead of this machine.")
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="Use the server at VAD_HOST and VAD_PORT instead of this machine.")
    ] = False,
    key: Key = None,
    speed: Annotated[Speed, typer.Option(help="How fast a file is sent: in real time, or at full speed.")] = "full",
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of raw samples: pcm_s16le, pcm_f32le, mulaw, alaw … Default: pcm_s16le."),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            help="Sample rate of raw samples and of the microphone, in Hz. Default: 16000, or 8000 for mulaw and alaw."
        ),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=8, help="Number of channels in raw samples.")] = 1,
    channel: Annotated[str, typer.Option(help="Which channel to use: mix, loudest, or a number from 0.")] = "mix",
    chunk_ms: Annotated[int, typer.Option(min=10, max=1_000, help="How much audio is sent at a time, in ms.")] = 100,
    json_: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON per event, also on a terminal.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also print the speech probability, ten times a second, as JSON.")
    ] = False,
    options: dict[str, Any],
) -> None:
    """Report where speech begins and ends while the audio arrives. Exit status: as for detect."""
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


@cli.command(cls=CliCommand)
@with_file_flags(without=("format", "keep"))
def batch(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, glob or file; or an fsspec URL, such as s3://…")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="A folder for the results; or an fsspec URL, such as s3://…")
    ],
    *,
    format_: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", "-f", help="Format of the results.")
    ] = "jsonl",
    per_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="Also write one result per file to DEST/files, in this format of detect. May be repeated.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of worker processes. Default: one per core, of this machine or of the cluster."
        ),
    ] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: auto, HOST:PORT or local.")] = None,
    shard_files: Annotated[int, typer.Option(min=1, help="At most this many audio files in one result file.")] = 512,
    shard_mb: Annotated[
        int, typer.Option(min=1, help="At most this much stored audio in one result file, in MiB.")
    ] = 1024,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete the results that are in DEST, and begin again.")
    ] = False,
    options: dict[str, Any],
) -> None:
    """Find speech in a whole collection. When started again, it continues where it stopped. Exit status: as for
    detect."""
    _require("batch", "fsspec")
    from app.cli.batch import run

    ended = run(
        source, destination, options, form=format_, per_file=per_file or (), workers=workers, ray=ray,
        shard_files=shard_files, shard_mb=shard_mb, overwrite=overwrite,
    )  # fmt: skip
    raise typer.Exit(ended)


@cli.command(cls=CliCommand)
def tune(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Audio with labels, in any form that docs/accuracy.md lists.")
    ],
    *,
    models: Annotated[
        str | None,
        typer.Option(metavar="NAME,…", help="Models and sums of models to try. Default: all on this machine."),
    ] = None,
    objective: Annotated[
        Literal["f1", "recall", "precision", "boundaries"],
        typer.Option(
            help="What to optimise. f1: F1 of frames. recall: F2, with more weight on recall. precision: F0.5, with "
            "more weight on precision. boundaries: the distance to the edges of the labels."
        ),
    ] = "f1",
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also test the files under this condition: clean, telephone, white:5, pink:0, music:5, level:-30, "
            "noise.wav:0. May be repeated. Default: clean only.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File for the preset. Other presets in the file stay.")
    ] = Path("presets.json"),
    name: Annotated[str, typer.Option(help="Name of the preset.")] = "tuned",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write the preset even from less than two minutes of speech or fewer than five files."
        ),
    ] = False,
) -> None:
    """Fit the settings of the models to your own labelled audio. Write the best as a preset (VAD_PRESETS). Exit status:
    as for detect."""
    _require("tune", "scipy", "praatio")
    from app.cli.tune import run

    asked = [each.strip() for each in (models or "").split(",") if each.strip()]
    raise typer.Exit(
        run(folder, models=asked, objective=objective, conditions=condition or (), out=out, name=name, force=force)
    )


@model_cli.command("list", cls=CliCommand)
def model_list() -> None:
    """List every known model, and whether it is on this machine."""
    from app.cli import model as command

    raise typer.Exit(command.list_models())


@model_cli.command("path", cls=CliCommand)
def model_path(name: ModelName = None) -> None:
    """Print the folder of the model's files, if they are on this machine."""
    from app.cli import model as command

    raise typer.Exit(command.path(name))


@model_cli.command("download", cls=CliCommand)
def model_download(name: ModelName = None) -> None:
    """Download the model into MODELSCOPE_CACHE, unless it is already there."""
    from app.cli import model as command

    raise typer.Exit(command.download(name))


@model_cli.command("verify", cls=CliCommand)
def model_verify(name: ModelName = None) -> None:
    """Check the files, shapes and fingerprint of the model."""
    from app.cli import model as command

    raise typer.Exit(command.verify(name))


@model_cli.command("export", cls=CliCommand)
def model_export(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] DIR", help="The model, and the folder to copy it to. VAD_MODEL can then name that folder."
        ),
    ],
) -> None:
    """Copy the model's files into a folder, for a machine that cannot download."""
    from app.cli import model as command

    if len(target) > 2:
        raise typer.BadParameter("one name and one directory at most", param_hint="[NAME] DIR")
    *name, directory = target
    raise typer.Exit(command.export(name[0] if name else None, Path(directory)))
