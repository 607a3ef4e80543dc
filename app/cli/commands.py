"""The commands and their options; what they do is in the modules beside this one."""

from pathlib import Path
from typing import Annotated, Any

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
