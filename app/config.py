"""Every setting of the service: name, default, unit, meaning. Environment variables `VAD_*`, or a `.env` file.

Only the wiring reads this (`app.main`, `app.runtime`, `app.server`, `app.cli`) and hands plain values down.
ModelScope's own variables keep their names.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_MODEL = "fsmn"
AUTO = "auto"


def _cores() -> int:
    """Count the cores that this process may use: in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaList = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """All settings. A wrong value stops the start with the variable's name."""

    model_config = SettingsConfigDict(env_prefix="VAD_", env_file=".env", extra="ignore", populate_by_name=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="The model of requests that name none: a known name (fsmn, silero, firered, pyannote …), several "
        "joined by + (with weights: silero+2*pyannote), best, a ModelScope id or a "
        "directory. `name=DIRECTORY` gives it a name of its own.",
    )
    models: CommaList = Field(
        default_factory=lambda: [AUTO],
        description="All models that may be asked for, comma-separated, in the forms of VAD_MODEL; they are loaded at "
        "the start. `auto`: VAD_MODEL and every known model that is at hand without a download.",
    )
    fallback_model: str = Field(
        "",
        description="Serves if VAD_MODEL can be neither found nor downloaded, such as `silero`; empty: nothing does.",
    )
    model_revision: str = Field("", description="Revision of VAD_MODEL on ModelScope; empty: the one known to work.")
    model_fingerprint: str = Field("", description="Refuse weights of VAD_MODEL with another fingerprint (SHA-256).")
    modelscope_cache: Path = Field(
        Path("models"),
        validation_alias=AliasChoices("MODELSCOPE_CACHE", "modelscope_cache"),
        description="MODELSCOPE_CACHE. ModelScope's cache directory.",
    )
    modelscope_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("MODELSCOPE_ENDPOINT", "modelscope_endpoint"),
        description="MODELSCOPE_ENDPOINT. A mirror of the hub.",
    )

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    dtype: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="Arithmetic of the network. float32 is exact; auto: bfloat16 where it proves quicker at the start.",
    )
    workers: int = Field(default_factory=_cores, ge=1, le=256, description="Threads that score; default: the cores.")
    block_seconds: float = Field(10.0, ge=1, le=300, description="s. Audio scored in one piece.")
    memory_cleanup: Literal["always", "on_oom", "never"] = Field(
        "always", description="When free memory is returned to the device and the system."
    )
    gpu_min_free_mb: int = Field(1024, ge=0, description="MiB. VAD_DEVICE=auto takes a GPU with at least this free.")
    gpu_memory_limit_mb: int | None = Field(None, ge=64, description="MiB. Most that the GPU allocator may take.")
    gpu_batch: int = Field(16, ge=1, le=1024, description="Blocks scored together on a GPU.")

    max_requests: int = Field(0, ge=0, description="Requests that are computed at a time; 0: 8 x workers.")
    max_queue: int = Field(
        0, ge=0, description="Requests whose upload is whole and that wait to be computed; 0: 8 x VAD_MAX_REQUESTS."
    )
    queue_timeout_s: float = Field(50, gt=0, description="s. Longest wait to be computed.")
    max_uploads: int = Field(0, ge=0, description="Uploads under way; 0: 12 x VAD_MAX_REQUESTS.")
    request_timeout_s: float = Field(600, gt=0, description="s. Longest that one request may take.")
    body_idle_timeout_s: float = Field(15, gt=0, description="s. Longest pause in an upload.")
    body_min_rate_kbps: float = Field(10, ge=0, description="kB/s. Least mean rate of an upload; 0: any.")
    body_timeout_s: float = Field(
        3600, gt=0, description="s. Longest upload; less where its length takes less time at VAD_BODY_MIN_RATE_KBPS."
    )
    linger_s: float = Field(
        10,
        ge=0,
        description="s. How long the rest of a refused upload is read on, so that its client sees the answer.",
    )
    linger_mb: int = Field(1024, ge=0, description="MiB. How much of a refused upload is read on.")
    max_upload_mb: int = Field(2048, ge=1, description="MiB. Largest upload.")
    max_audio_hours: float = Field(12, gt=0, description="h. Longest audio, counted in decoded samples.")
    decoded_mb: int = Field(
        0, ge=0, description="MiB. Memory for decoded audio of all requests together; 0: 48 x workers."
    )
    max_files: int = Field(64, ge=1, description="Files in one request.")
    max_probability_minutes: float = Field(
        60, gt=0, description="min. Longest audio of a request with `probabilities=true`."
    )
    tmp_dir: Path | None = Field(None, description="Where uploads are kept while they are used; default: the system's.")
    tmp_budget_mb: int = Field(
        0, ge=0, description="MiB. Disk that all uploads together may take; 0: nine tenths of what is free."
    )
    ffmpeg: str | None = Field(None, description="The ffmpeg to use; default: the bundled one, else the PATH's.")
    preset: str = Field(
        "",
        description="The preset of requests that name none (asr, subtitles, commands, telephone, noisy, labelling): "
        "its options, under VAD_DEFAULT_OPTIONS, and its model where VAD_MODEL is not set.",
    )
    presets: Path | None = Field(
        None, description="A JSON file with presets beside the service's own, such as fsmn-vad tune writes."
    )
    default_options: dict[str, Any] = Field(
        default_factory=dict, description="JSON. Detection options where a request gives none."
    )

    max_streams: int = Field(1000, ge=0, le=100_000, description="Live streams at a time; 0: none.")
    live_batch_ms: float = Field(
        20, ge=0, le=1_000, description="ms. How long a live chunk waits for others to be scored with."
    )
    stream_buffer_s: float = Field(10, gt=0, le=600, description="s. Audio of a live stream that may wait for scoring.")
    stream_idle_s: float = Field(60, gt=0, description="s. A live stream ends after this long without audio.")
    session_ttl_s: float = Field(30, ge=0, description="s. How long a live session waits for its client to come back.")

    api_keys: CommaList = Field(default_factory=list, description="API keys, comma-separated; empty: open to all.")
    cors_origins: CommaList = Field(
        default_factory=list,
        description="Origins whose pages may read answers (CORS) and open live streams, comma-separated.",
    )
    allowed_hosts: CommaList = Field(
        default_factory=list, description="Host names it answers to, such as vad.example.com,*.example.org; empty: any."
    )
    ui: bool = Field(True, description="Whether the page is served.")
    rate_limit: str = Field("", description="Requests of one client, such as 60/minute; empty: no limit.")
    guard_metrics: bool = Field(False, description="Whether /metrics needs a key, too.")
    max_analyses: int = Field(32, ge=0, description="Analyses kept for `keep=true`.")
    analyses_mb: int = Field(64, ge=0, description="MiB. Memory that kept analyses may take; an hour takes 3.")
    analysis_ttl_s: float = Field(900, gt=0, description="s. How long an analysis is kept after its last use.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("model_fingerprint")
    @classmethod
    def _is_sha256(cls, value: str) -> str:
        if value and (len(value) != 64 or not set(value.lower()) <= set("0123456789abcdef")):
            raise ValueError("must be 64 hexadecimal digits")
        return value.lower()

    @field_validator("rate_limit")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        if value:
            from limits import parse  # noqa: PLC0415 - two megabytes of memory, for those who want it

            parse(value)
        return value

    @property
    def automatic(self) -> bool:
        """Whether any known model may be asked for that is here without a download."""
        return AUTO in self.models

    @property
    def threads_per_worker(self) -> int:
        """Threads for the matrix products of one scoring thread, so that workers x threads = cores."""
        return max(1, _cores() // self.workers)

    @property
    def requests_inside(self) -> int:
        """`max_requests` with its default filled in."""
        return self.max_requests or 8 * self.workers

    @property
    def requests_queued(self) -> int:
        """`max_queue` with its default filled in."""
        return self.max_queue or 8 * self.requests_inside

    @property
    def decoded_bytes(self) -> int:
        """`decoded_mb` with its default filled in, in bytes."""
        return (self.decoded_mb or 48 * self.workers) << 20

    @property
    def uploads_at_a_time(self) -> int:
        """`max_uploads` with its default filled in."""
        return self.max_uploads or 12 * self.requests_inside


def variable_name(field: str) -> str:
    """The environment variable that sets `field`."""
    return field.upper() if field.lower().startswith("modelscope") else f"VAD_{field.upper()}"
