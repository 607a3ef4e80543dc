"""Which paths cost something, need a key, and are worth a line in the log: one list for every middleware."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Treatment:
    """How requests below a path are treated."""

    prefix: str
    costs: bool = False
    """Whether a request passes admission: it brings a body, or work, or both."""
    methods: frozenset[str] | None = None
    """Of requests that cost; None: all."""
    needs_key: bool = False
    quiet: bool = False
    """Whether requests are left out of the log (but for debugging) and of traces: probes come all the time."""


_UPLOADS = frozenset({"POST", "PUT"})
TREATMENTS = (
    Treatment("/vad/stream", needs_key=True),
    Treatment("/vad", costs=True, methods=_UPLOADS, needs_key=True),
    # With a file's name behind it, as `curl -T` sends it, even if the file is called `stream`.
    Treatment("/vad/", costs=True, methods=_UPLOADS, needs_key=True),
    Treatment("/v1/audio/speech/timestamps", costs=True, needs_key=True),
    Treatment("/v1/", needs_key=True),
    Treatment("/render", costs=True, needs_key=True),
    Treatment("/sample.wav", costs=True, needs_key=True),
    Treatment("/analyses/", costs=True, needs_key=True),
    Treatment("/analyses", needs_key=True),
    Treatment("/health", quiet=True),
    Treatment("/metrics", quiet=True),
)
"""The first that fits counts."""
_OPEN = Treatment("/")


def treatment_of(path: str) -> Treatment:
    """For a request's path; what is not listed is open, cheap and logged."""
    return next((each for each in TREATMENTS if path.startswith(each.prefix)), _OPEN)


def costs(method: str, path: str) -> bool:
    """Whether it passes admission. By the whole path, or the folder: what is only like one of ours is a cheap 404."""
    return any(
        each.costs
        and (each.methods is None or method in each.methods)
        and (path.startswith(each.prefix) if each.prefix.endswith("/") else path == each.prefix)
        for each in TREATMENTS
    )


QUIET_PREFIXES = tuple(each.prefix for each in TREATMENTS if each.quiet)
