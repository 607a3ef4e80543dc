"""systemd unit, nginx example, compose file, Dockerfiles, monitoring: what one names, another has."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.config import Settings, variable_name
from tests.deploy.manifests import ROOT, load, settings_named

SETTINGS = {variable_name(name) for name in Settings.model_fields}
UNIT = ROOT / "deploy/systemd/fsmn-vad.service"
COMPOSE = ROOT / "docker/compose.yaml"


@pytest.mark.parametrize(
    "path",
    [UNIT, ROOT / "deploy/systemd/fsmn-vad.env", COMPOSE, ROOT / "docker/Dockerfile", ROOT / "docker/Dockerfile.cuda"],
    ids=lambda path: path.name,
)
def test_names_only_settings_that_exist(path: Path) -> None:
    named = settings_named(path.read_text("utf-8"))
    assert named
    assert named <= SETTINGS


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text("utf-8"))
    return parser


def test_the_unit_runs_the_console_script() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].split("/")[-1] == "fsmn-vad serve"
    assert int(service["TimeoutStopSec"]) > Settings().request_timeout_s
    assert f"EnvironmentFile=-/etc/{(UNIT.parent / 'fsmn-vad.env').name}" in UNIT.read_text("utf-8")


@pytest.mark.parametrize(
    "guard", ["NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"]
)
def test_the_unit_is_hardened(guard: str) -> None:
    assert unit()["Service"][guard] == "yes"


@pytest.mark.full
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8").replace("/opt/fsmn-vad/.venv/bin/fsmn-vad", "/bin/true")
    text = text.replace("User=fsmn-vad", "User=daemon").replace("Group=fsmn-vad", "Group=daemon")
    copy = tmp_path / UNIT.name
    copy.write_text(text, "utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert UNIT.name not in told.stderr


def test_compose_agrees_with_the_image() -> None:
    services = load(COMPOSE)["services"]
    service = services["fsmn-vad"]
    assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["image"].endswith(f":{__version__}")
    assert service["read_only"]
    exposed = re.findall(r"^EXPOSE (\d+)$", (ROOT / "docker/Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert [port.rsplit(":", 1)[-1] for port in service["ports"]] == exposed
    (job,) = load(ROOT / "deploy/monitoring/prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"fsmn-vad:{exposed[0]}"]


def test_compose_mounts_what_is_there() -> None:
    mounts = [mount for service in load(COMPOSE)["services"].values() for mount in service.get("volumes", [])]
    local = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert local
    assert [path for path in local if not (COMPOSE.parent / path).exists()] == []


def test_the_gpu_image_is_the_cpu_image_but_for_torch() -> None:
    def steps(name: str) -> set[str]:
        lines = (ROOT / "docker" / name).read_text("utf-8").splitlines()
        return {line.rstrip(" \\") for line in lines if line.strip() and not line.startswith("#")}

    only_cpu, only_gpu = steps("Dockerfile") - steps("Dockerfile.cuda"), steps("Dockerfile.cuda") - steps("Dockerfile")
    assert {line.split("=")[0].strip() for line in only_cpu} == {"ARG TORCH_INDEX"}
    assert {line.split("=")[0].strip() for line in only_gpu} == {
        "ARG TORCH_INDEX",
        "VAD_DEVICE",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }


def expressions() -> list[str]:
    groups = load(ROOT / "deploy/monitoring/alerts.yml")["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    return alerts + [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def dashboard() -> dict[str, Any]:
    text = (ROOT / "deploy/monitoring/grafana/dashboards/fsmn-vad.json").read_text("utf-8")
    return dict(json.loads(text))


def test_the_dashboard_asks_the_provisioned_source() -> None:
    (source,) = load(ROOT / "deploy/monitoring/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard()["panels"]} == {source["uid"]}


@pytest.mark.full
@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_accepts_the_alerts() -> None:
    told = subprocess.run(
        ["promtool", "check", "rules", ROOT / "deploy/monitoring/alerts.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


def test_every_expression_is_balanced() -> None:
    assert [
        text for text in expressions() if text.count("(") != text.count(")") or text.count("[") != text.count("]")
    ] == []
