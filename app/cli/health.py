"""`fsmn-vad health`."""

import httpx
from rich.console import Console

from app.cli.settings import read_settings_or_say

_STDERR = Console(stderr=True, highlight=False)


def run(url: str | None) -> int:
    """0 when the service is ready."""
    if url is None:
        settings = read_settings_or_say(_STDERR)
        if settings is None:
            return 2
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
        url = f"http://{host}:{settings.port}"
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=3, trust_env=False)
    except httpx.HTTPError as error:
        _STDERR.print(f"no answer from {url}: {error}", markup=False)
        return 1
    print(answer.text)  # noqa: T201
    return 0 if answer.status_code == httpx.codes.OK else 1
