"""Reading what is under `deploy/` and `docker/`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/kustomize/base"
OVERLAY = ROOT / "deploy/kustomize/autoscale-inflight"

Manifest = dict[str, Any]


def load(path: Path) -> Manifest:
    """The one document of a YAML file."""
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict), path
    return document


def yaml_files() -> list[Path]:
    """Every YAML file that is shipped for running the service."""
    folders = (ROOT / "deploy", ROOT / "docker", ROOT / ".github")
    return sorted(path for folder in folders for path in [*folder.rglob("*.yaml"), *folder.rglob("*.yml")])


def resources() -> dict[str, Manifest]:
    """The base's manifests by kind, exactly those that its kustomization lists."""
    listed = [load(BASE / name) for name in load(BASE / "kustomization.yaml")["resources"]]
    assert len({manifest["kind"] for manifest in listed}) == len(listed)
    return {manifest["kind"]: manifest for manifest in listed}


def settings_named(text: str) -> set[str]:
    """`VAD_*` names that a text sets (`VAD_PORT=…`, `VAD_PORT: …`), commented out or not."""
    return {name for line in text.splitlines() for name in _settings_of(line)}


def _settings_of(line: str) -> Iterator[str]:
    stripped = line.strip().lstrip("#").removeprefix("Environment=").removeprefix("ENV ").strip()
    name = stripped.replace("=", ":").split(":")[0].strip()
    if name.startswith("VAD_") and name.replace("_", "").isalnum() and " " not in name:
        yield name
