"""The Kubernetes manifests: valid by schema, and every name in one that points at another is there."""

from typing import Any

import httpx
import kubernetes_validate
import pytest

from app.config import Settings, variable_name
from app.main import create_app
from tests.deploy.manifests import BASE, OVERLAY, Manifest, load, resources, yaml_files

VERSIONS = ("1.30", "1.33")
OWN_KINDS = {"Kustomization", "ServiceMonitor"}
"""Not part of Kubernetes' own API, so not in its schemas; checked by hand below."""

LABELS = {"app.kubernetes.io/name": "fsmn-vad"}
SETTINGS = {variable_name(name) for name in Settings.model_fields}


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


def pod() -> Manifest:
    return dict(resources()["Deployment"]["spec"]["template"]["spec"])


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.name)
def test_is_yaml(path: Any) -> None:
    assert load(path)


def test_every_manifest_is_listed() -> None:
    listed = set(load(BASE / "kustomization.yaml")["resources"])
    assert listed == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [kind for kind in resources() if kind not in OWN_KINDS])
def test_matches_the_schema(kind: str, version: str) -> None:
    kubernetes_validate.validate(resources()[kind], version, strict=True)


def test_the_schema_would_say_no() -> None:
    broken = resources()["Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_selectors_find_the_pod() -> None:
    kinds = resources()
    assert kinds["Deployment"]["spec"]["template"]["metadata"]["labels"] == LABELS
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == LABELS
    assert kinds["Service"]["spec"]["selector"] == LABELS
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert kinds["Service"]["metadata"]["labels"] == kinds["ServiceMonitor"]["spec"]["selector"]["matchLabels"]


def test_ports_agree() -> None:
    (port,) = container()["ports"]
    (service,) = resources()["Service"]["spec"]["ports"]
    (rule,) = resources()["NetworkPolicy"]["spec"]["ingress"]
    environment = {entry["name"]: entry["value"] for entry in container()["env"]}
    assert environment["VAD_PORT"] == str(port["containerPort"])
    assert service["targetPort"] == port["name"]
    assert [entry["port"] for entry in rule["ports"]] == [port["name"]]
    assert [endpoint["port"] for endpoint in resources()["ServiceMonitor"]["spec"]["endpoints"]] == [service["name"]]


async def is_served(path: str) -> bool:
    """Whether the application knows the path, ready or not."""
    transport = httpx.ASGITransport(app=create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get(path)).status_code in {200, 503}


async def test_probes_ask_paths_that_exist() -> None:
    probes = [container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [probe["path"] for probe in probes] == ["/health/ready", "/health/live", "/health/ready"]
    assert {probe["port"] for probe in probes} == {"http"}
    assert [await is_served(probe["path"]) for probe in probes] == [True, True, True]
    assert not await is_served("/health/other")


async def test_prometheus_scrapes_a_path_that_exists() -> None:
    scraped = [endpoint["path"] for endpoint in resources()["ServiceMonitor"]["spec"]["endpoints"]]
    assert [await is_served(path) for path in scraped] == [True]


def test_settings_exist_and_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = resources()
    (config,) = [entry["configMapRef"]["name"] for entry in container()["envFrom"] if "configMapRef" in entry]
    (secret,) = [entry["secretRef"]["name"] for entry in container()["envFrom"] if "secretRef" in entry]
    assert config == kinds["ConfigMap"]["metadata"]["name"]
    assert secret == kinds["Secret"]["metadata"]["name"]
    values = {entry["name"]: entry["value"] for entry in container()["env"]}
    values |= kinds["ConfigMap"]["data"] | kinds["Secret"]["stringData"]
    assert set(values) <= SETTINGS
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert Settings().host == "0.0.0.0"


def test_numbers_fit_together() -> None:
    settings = resources()["ConfigMap"]["data"]
    limits = container()["resources"]["limits"]
    assert settings["VAD_WORKERS"] == limits["cpu"]
    (tmp,) = [volume for volume in pod()["volumes"] if volume["name"] == "tmp"]
    assert int(settings["VAD_TMP_BUDGET_MB"]) < 1024 * int(tmp["emptyDir"]["sizeLimit"].removesuffix("Gi"))
    assert int(settings["VAD_MAX_UPLOAD_MB"]) <= int(settings["VAD_TMP_BUDGET_MB"])
    sleep = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod()["terminationGracePeriodSeconds"] > sleep + int(settings["VAD_REQUEST_TIMEOUT_S"])


def test_the_pod_may_do_nothing_it_need_not() -> None:
    security = container()["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod()["securityContext"]["runAsNonRoot"]
    assert not pod()["automountServiceAccountToken"]
    policy = resources()["NetworkPolicy"]["spec"]
    assert policy["egress"] == []
    assert "Egress" in policy["policyTypes"]


def test_the_autoscaler_scales_the_deployment() -> None:
    target = resources()["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = resources()["Deployment"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]


def test_the_overlay_asks_for_the_metric_that_the_adapter_makes() -> None:
    base = resources()["HorizontalPodAutoscaler"]
    patch = load(OVERLAY / "horizontalpodautoscaler.yaml")
    merged = {**base, "spec": {**base["spec"], **patch["spec"]}}
    kubernetes_validate.validate(merged, VERSIONS[-1], strict=True)
    asked = {metric["pods"]["metric"]["name"] for metric in merged["spec"]["metrics"] if metric["type"] == "Pods"}
    made = {rule["name"]["as"] for rule in load(OVERLAY / "adapter-rule.yaml")["rules"]["custom"]}
    assert asked == made == {"vad_inflight"}
