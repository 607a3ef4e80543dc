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
        description="The default model: a known name (fsmn, silero, firered, pyannote …), several names joined by + "
        "(with weights: silero+2*pyannote), best, a ModelScope id or a folder. `name=FOLDER` also gives it a name.",
    )
    models: CommaList = Field(
        default_factory=lambda: [AUTO],
        description="Models that requests may name, comma-separated, each written as in VAD_MODEL. The service loads "
        "them at the start. `auto`: VAD_MODEL and every known model that is on this machine.",
    )
    fallback_model: str = Field(
        "",
        description="A model to use when VAD_MODEL is not on this machine and cannot be downloaded, such as `silero`. "
        "Empty: the service does not start then.",
    )
    model_revision: str = Field("", description="Revision of VAD_MODEL on ModelScope. Empty: the tested one.")
    model_fingerprint: str = Field(
        "", description="SHA-256 of the weights of VAD_MODEL. The service refuses other weights."
    )
    modelscope_cache: Path = Field(
        Path("models"),
        validation_alias=AliasChoices("MODELSCOPE_CACHE", "modelscope_cache"),
        description="Folder where ModelScope keeps models.",
    )
    modelscope_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("MODELSCOPE_ENDPOINT", "modelscope_endpoint"),
        description="Address of a mirror of the ModelScope hub.",
    )

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device that runs the models: auto, cpu, cuda or cuda:N.",
    )
    dtype: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="Number format of the networks. float32 is exact. auto: bfloat16 if a test at the start finds it "
        "faster.",
    )
    workers: int = Field(
        default_factory=_cores,
        ge=1,
        le=256,
        description="Number of threads that run the models. Default: one per core.",
    )
    block_seconds: float = Field(10.0, ge=1, le=300, description="s. Length of audio that a model processes at once.")
    memory_cleanup: Literal["always", "on_oom", "never"] = Field(
        "always", description="When the service returns free memory to the device and the system."
    )
    gpu_min_free_mb: int = Field(
        1024, ge=0, description="MiB. VAD_DEVICE=auto uses a GPU that has at least this much free memory."
    )
    gpu_memory_limit_mb: int | None = Field(None, ge=64, description="MiB. Most GPU memory that the service may use.")
    gpu_batch: int = Field(16, ge=1, le=1024, description="Number of blocks that a GPU processes together.")

    max_requests: int = Field(
        0,
        ge=0,
        description="Requests that are computed at the same time. 0: 8 x workers. Up to a quarter more may run for a "
        "second, so that long files do not keep short ones waiting.",
    )
    max_queue: int = Field(
        0, ge=0, description="Fully uploaded requests that may wait to be computed. 0: 8 x VAD_MAX_REQUESTS."
    )
    queue_timeout_s: float = Field(50, gt=0, description="s. How long a request may wait to be computed.")
    max_uploads: int = Field(0, ge=0, description="Uploads at the same time. 0: 12 x VAD_MAX_REQUESTS.")
    request_timeout_s: float = Field(600, gt=0, description="s. How long one request may take.")
    body_idle_timeout_s: float = Field(15, gt=0, description="s. Longest pause in an upload.")
    body_min_rate_kbps: float = Field(10, ge=0, description="kB/s. Lowest mean rate of an upload. 0: any.")
    body_timeout_s: float = Field(
        3600,
        gt=0,
        description="s. How long one upload may take. A known length allows less: its time at VAD_BODY_MIN_RATE_KBPS.",
    )
    linger_s: float = Field(
        10,
        ge=0,
        description="s. How long the service reads on after it refuses an upload, so that the client sees the answer.",
    )
    linger_mb: int = Field(1024, ge=0, description="MiB. How much the service reads on after it refuses an upload.")
    max_upload_mb: int = Field(2048, ge=1, description="MiB. Largest upload.")
    max_audio_hours: float = Field(12, gt=0, description="h. Longest audio, measured after decoding.")
    decoded_mb: int = Field(
        0, ge=0, description="MiB. Memory for the decoded audio of all requests together. 0: 48 x workers."
    )
    max_files: int = Field(64, ge=1, description="Most files in one request.")
    max_probability_minutes: float = Field(
        60, gt=0, description="min. Longest audio of a request with `probabilities=true`."
    )
    tmp_dir: Path | None = Field(
        None, description="Folder for uploads while they are processed. Default: the system's temporary folder."
    )
    tmp_budget_mb: int = Field(
        0, ge=0, description="MiB. Disk space for all uploads together. 0: nine tenths of the free space."
    )
    ffmpeg: str | None = Field(
        None, description="Path of the ffmpeg to use. Default: the bundled one, else the one on the PATH."
    )
    preset: str = Field(
        "",
        description="The default preset: asr, subtitles, commands, telephone, noisy or labelling. VAD_DEFAULT_OPTIONS "
        "wins over its options, and VAD_MODEL over its model.",
    )
    presets: Path | None = Field(None, description="A JSON file with more presets, such as fsmn-vad tune writes.")
    default_options: dict[str, Any] = Field(
        default_factory=dict, description="JSON. Detection options for requests that do not set them."
    )

    max_streams: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="Live streams at the same time. 0: none. The default is for large machines: docs/performance.md "
        "has the number for two cores, and streams a core for each model.",
    )
    live_batch_ms: float = Field(
        20, ge=0, le=1_000, description="ms. How long a chunk of live audio waits for others, to be processed together."
    )
    stream_buffer_s: float = Field(
        10, gt=0, le=600, description="s. How much audio of one live stream may wait to be processed."
    )
    stream_idle_s: float = Field(60, gt=0, description="s. A live stream ends after this time without audio.")
    session_ttl_s: float = Field(30, ge=0, description="s. How long a live session waits for its client to come back.")

    api_keys: CommaList = Field(
        default_factory=list, description="API keys, comma-separated. Empty: open to everybody."
    )
    cors_origins: CommaList = Field(
        default_factory=list,
        description="Origins, comma-separated, whose web pages may read answers (CORS) and open live streams.",
    )
    allowed_hosts: CommaList = Field(
        default_factory=list,
        description="Host names that the service answers to, such as vad.example.com,*.example.org. Empty: any.",
    )
    ui: bool = Field(True, description="Whether to serve the web page.")
    rate_limit: str = Field("", description="Limit on the requests of one client, such as 60/minute. Empty: no limit.")
    guard_metrics: bool = Field(False, description="Whether /metrics also needs a key.")
    max_analyses: int = Field(32, ge=0, description="Most analyses that are kept at the same time (`keep=true`).")
    analyses_mb: int = Field(64, ge=0, description="MiB. Memory for kept analyses. One hour of audio takes 3 MiB.")
    analysis_ttl_s: float = Field(900, gt=0, description="s. How long an analysis is kept after its last use.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Form of log lines. auto: console on a terminal, else json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")

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
    def requests_on_trial(self) -> int:
        """Requests beyond `requests_inside` that are computed for a moment, so that long files do not keep a clip out:
        a quarter, which leaves few places none."""
        return self.requests_inside // 4

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
