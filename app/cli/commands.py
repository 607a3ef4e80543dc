"""The commands and their options; what they do is in the modules beside this one."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from app import __version__
from app.cli.option_flags import with_detection_options

cli = typer.Typer(
    name="fsmn-vad",
    help="Voice activity detection with DAMO's FSMN-VAD: audio in, speech segments out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model_cli = typer.Typer(help="Find, download, check or bundle the model.", no_args_is_help=True)
cli.add_typer(model_cli, name="model")
errors = Console(stderr=True, highlight=False)
Speed = Literal["realtime", "full"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fsmn-vad {__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None: ...


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [VAD_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [VAD_PORT].")] = None,
    model: Annotated[str | None, typer.Option(help="ModelScope id, or a model directory [VAD_MODEL].")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [VAD_DEVICE].")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that score [VAD_WORKERS].")] = None,
    settings: Annotated[bool, typer.Option("--settings", help="List every setting (VAD_*) and exit.")] = False,
) -> None:
    """Serve HTTP until stopped. Every setting is an environment variable VAD_*, or a line of a .env file."""
    from app.cli import serve as command

    if settings:
        command.print_settings()
        return
    given = {"host": host, "port": port, "model": model, "device": device, "workers": workers}
    raise typer.Exit(command.run({name: value for name, value in given.items() if value is not None}))


@cli.command()
def health(
    url: Annotated[str | None, typer.Option(help="Base URL; default: VAD_HOST and VAD_PORT here.")] = None,
) -> None:
    """Exit 0 when the service here is ready, else 1: for container health checks."""
    from app.cli import health as command

    raise typer.Exit(command.run(url))


@cli.command()
@with_detection_options
def detect(
    sources: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, folders, globs; - is stdin.")],
    format_: Annotated[str | None, typer.Option("--format", "-f", help="table, json, ndjson, csv, srt, …")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for one result file per input.")] = None,
    channel: Annotated[str, typer.Option(help="mix, split, or an index from 0.")] = "mix",
    lang: Annotated[str, typer.Option(help="zh or en, for --format md.")] = "zh",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time.")] = 2,
    model: Annotated[str | None, typer.Option(help="ModelScope id, or a model directory.")] = None,
    url: Annotated[str | None, typer.Option(help="Use the server at this URL instead of this machine.")] = None,
    key: Annotated[str | None, typer.Option(envvar="VAD_API_KEY", help="The server's key.")] = None,
    **options: Any,
) -> None:
    """Find speech in audio files. Exit status: 0 all well, 1 some file failed, 2 wrong usage, 3 no model."""
    from app.cli.detect import Request, run

    request = Request(
        sources=sources, format=format_, out=out, options=options, channel=channel, lang=lang, jobs=jobs, model=model,
        url=url, key=key,
    )  # fmt: skip
    raise typer.Exit(run(request))


@cli.command()
@with_detection_options
def stream(
    source: Annotated[str | None, typer.Argument(metavar="FILE", help="A file, or - for raw PCM on stdin.")] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone (needs the extra [mic]).")] = False,
    url: Annotated[str | None, typer.Option(help="Use the server at this ws:// or http:// URL.")] = None,
    service: Annotated[bool, typer.Option("--service", help="Use the server at VAD_HOST and VAD_PORT.")] = False,
    key: Annotated[str | None, typer.Option(envvar="VAD_API_KEY", help="The server's key.")] = None,
    speed: Annotated[Speed, typer.Option(help="How fast a file is sent.")] = "full",
    encoding: Annotated[str, typer.Option(help="Of stdin: pcm_s16le or pcm_f32le.")] = "pcm_s16le",
    sample_rate: Annotated[int, typer.Option(help="Hz, of stdin and the microphone.")] = 16_000,
    chunk_ms: Annotated[int, typer.Option(min=10, max=1_000, help="Sound sent at a time.")] = 100,
    json_: Annotated[bool, typer.Option("--json", help="A line of JSON for each event, on a terminal too.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also as JSON, ten a second.")] = False,
    model: Annotated[str | None, typer.Option(help="ModelScope id, or a model directory.")] = None,
    **options: Any,
) -> None:
    """Tell where speech begins and ends while it is heard, on this machine or a server. Exit status as of detect."""
    from app.cli.stream import StreamRequest, run

    request = StreamRequest(
        source=source, mic=mic, options=options, encoding=encoding, sample_rate=sample_rate, chunk_ms=chunk_ms,
        speed=speed, json=json_, probabilities=probabilities, model=model, url=url, service=service, key=key,
    )  # fmt: skip
    raise typer.Exit(run(request))


@cli.command()
@with_detection_options
def batch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, glob or file; fsspec's s3://… too.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="Folder for the results; s3://… too.")],
    format_: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", "-f", help="Of the results.")] = "jsonl",
    channel: Annotated[str, typer.Option(help="mix, split, or an index from 0.")] = "mix",
    workers: Annotated[int | None, typer.Option(min=1, help="Engines; default: the cores, or the cluster's.")] = None,
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: auto, HOST:PORT or local.")] = None,
    shard_files: Annotated[int, typer.Option(min=1, help="Most files in one result file.")] = 512,
    shard_mb: Annotated[int, typer.Option(min=1, help="MiB. Most audio, as stored, for one result file.")] = 1024,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the results that are in DEST.")] = False,
    model: Annotated[str | None, typer.Option(help="ModelScope id, or a model directory.")] = None,
    **options: Any,
) -> None:
    """Find speech in a whole collection; started again, it goes on where it stopped. Exit status as of detect."""
    from app.cli.batch import BatchRequest, run

    request = BatchRequest(
        source=source, destination=destination, format=format_, options=options, channel=channel, workers=workers,
        ray=ray, shard_files=shard_files, shard_mb=shard_mb, overwrite=overwrite, model=model,
    )  # fmt: skip
    raise typer.Exit(run(request))


@model_cli.command("path")
def model_path() -> None:
    """Print the model's directory, if it is here."""
    from app.cli import model as command

    raise typer.Exit(command.path())


@model_cli.command("download")
def model_download() -> None:
    """Download the model into MODELSCOPE_CACHE, if it is not there yet."""
    from app.cli import model as command

    raise typer.Exit(command.download())


@model_cli.command("verify")
def model_verify() -> None:
    """Check the model's files, shapes and fingerprint."""
    from app.cli import model as command

    raise typer.Exit(command.verify())


@model_cli.command("export")
def model_export(
    directory: Annotated[Path, typer.Argument(help="Where the bundle goes; VAD_MODEL can then name it.")],
) -> None:
    """Copy the model's files into a directory, for a machine without the hub."""
    from app.cli import model as command

    raise typer.Exit(command.export(directory))
