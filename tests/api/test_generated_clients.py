"""Clients that other people's generators make of `/openapi.json`: generated, compiled, and used as they come."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.generators import NODE_TOOLS, PYTHON_TOOLS, run, told_by_node, told_by_python, tool
from tests.server import RunningServer, running_server

pytestmark = [pytest.mark.slow, pytest.mark.full]

SEGMENTS = [[1_730, 4_160], [5_730, 8_160]]
"""Of the usual recording."""
EXPECTED = {
    "detected": {"name": "bursts", "segments": SEGMENTS},
    "set": {"mode": "tight", "threshold": 0.9, "max_speech_duration_s": 5.0},
    "refused": {"status": 422, "code": "invalid_option", "option": "threshold"},
    "no audio": {"status": 400, "code": "no_audio"},
    "timestamps": 2,
    "models": True,
    "options": True,
    "health": "ready",
}
"""What every client has to get: whole answers, options in force, problems as documents."""

OPENAPI_PYTHON_CLIENT = """
import importlib, json, os, pkgutil
import made
from made import Client
from made.api.detection import detect_speech, detect_speech_timestamps, get_sample
from made.api.models import list_models, list_options
from made.api.operation import get_health
from made.models import DetectSpeechBody, DetectSpeechMode, DetectSpeechTimestampsBody
from made.types import File

for module in pkgutil.walk_packages(made.__path__, "made."):
    importlib.import_module(module.name)
client = Client(base_url=os.environ["URL"])
content = open(os.environ["AUDIO"], "rb").read()

def body(kind=DetectSpeechBody, content=content):
    return kind(file=File(payload=content, file_name="bursts.wav", mime_type="audio/wav"))

found = detect_speech.sync(client=client, body=body())
given = detect_speech.sync(
    client=client, body=body(), mode=DetectSpeechMode.TIGHT, threshold=0.9, max_speech_duration_s=5.0
).options.additional_properties
wrong = detect_speech.sync(client=client, body=body(), threshold=0.9)
empty = detect_speech.sync(client=client, body=body(content=b""))
print(json.dumps({
    "detected": {"name": found.name, "segments": [[each.start_ms, each.end_ms] for each in found.segments]},
    "set": {name: given[name] for name in ("mode", "threshold", "max_speech_duration_s")},
    "refused": {"status": wrong.status, "code": wrong.code, "option": wrong.option},
    "no audio": {"status": empty.status, "code": empty.code},
    "timestamps": len(detect_speech_timestamps.sync(client=client, body=body(DetectSpeechTimestampsBody))),
    "models": any(model.default for model in list_models.sync(client=client).models),
    "options": "tight" in [mode.mode for mode in list_options.sync(client=client).modes],
    "health": get_health.sync(client=client).status,
    "sample": len(get_sample.sync(client=client).payload.read()),
}))
"""

OPENAPI_GENERATOR = """
import importlib, json, os, pkgutil
import made

for module in pkgutil.walk_packages(made.__path__, "made."):
    importlib.import_module(module.name)
with made.ApiClient(made.Configuration(host=os.environ["URL"])) as client:
    api, path = made.DetectionApi(client), os.environ["AUDIO"]

    def refused(**given):
        try:
            api.detect_speech(**given)
        except made.ApiException as error:
            return {"status": error.status, "code": error.data.code, "option": error.data.option}

    found = api.detect_speech(file=path).actual_instance
    given = api.detect_speech(file=path, mode="tight", threshold=0.9, max_speech_duration_s=5.0).actual_instance.options
    (pairs,) = api.detect_speech(file=path, format="funasr").actual_instance
    segments = [[each.start_ms, each.end_ms] for each in found.segments]
    assert pairs.value == segments
    empty = refused(file=("bursts.wav", b""))
    print(json.dumps({
        "detected": {"name": found.name, "segments": segments},
        "set": {name: given[name] for name in ("mode", "threshold", "max_speech_duration_s")},
        "refused": refused(file=path, threshold=0.9),
        "no audio": {"status": empty["status"], "code": empty["code"]},
        "timestamps": len(api.detect_speech_timestamps(file=path)),
        "models": any(model.default for model in made.ModelsApi(client).list_models().models),
        "options": "tight" in [mode.mode for mode in made.ModelsApi(client).list_options().modes],
        "health": made.OperationApi(client).get_health().status,
        "sample": len(api.get_sample()),
    }))
"""

TYPESCRIPT = """
import { readFileSync } from 'node:fs';
IMPORTS
const file = new File([readFileSync(process.env.AUDIO!)], 'bursts.wav', { type: 'audio/wav' });
const none = new File([], 'bursts.wav');
const found = await detect({ file });
if ('code' in found) throw new Error(JSON.stringify(found));
const given = await detect({ file }, { mode: 'tight', threshold: 0.9, max_speech_duration_s: 5 });
if ('code' in given) throw new Error(JSON.stringify(given));
const wrong = await detect({ file }, { threshold: 0.9 });
const empty = await detect({ file: none });
if (!('code' in wrong) || !('code' in empty)) throw new Error(JSON.stringify([wrong, empty]));
const { mode, threshold, max_speech_duration_s } = given.options as Record<string, unknown>;
console.log(JSON.stringify({
  detected: { name: found.name, segments: found.segments.map((each) => [each.start_ms, each.end_ms]) },
  set: { mode, threshold, max_speech_duration_s },
  refused: { status: wrong.status, code: wrong.code, option: wrong.option },
  'no audio': { status: empty.status, code: empty.code },
  ...await others(),
}));
"""

ORVAL = """
import * as made from './made';
async function detect(body: made.DetectSpeechBody, query?: made.DetectSpeechParams) {
  const { data } = await made.detectSpeech(body, query);
  if (typeof data === 'string' || Array.isArray(data)) throw new Error(String(data));
  return data;
}
async function others() {
  const [times, models] = [await made.detectSpeechTimestamps({ file }), await made.listModels()];
  const [options, health] = [await made.listOptions(), await made.getHealth()];
  if (times.status !== 200 || models.status !== 200 || options.status !== 200) throw new Error('refused');
  return {
    timestamps: times.data.length,
    models: models.data.models.some((model) => model.default),
    options: options.data.modes.some((each) => each.mode === 'tight'),
    health: health.data.status,
    sample: ((await made.getSample()).data as Blob).size,
  };
}
"""

HEY_API = """
import * as made from './made';
import { client } from './made/client.gen';
client.setConfig({ baseUrl: process.env.URL });
async function detect(body: made.DetectSpeechData['body'], query?: made.DetectSpeechData['query']) {
  const { data, error } = await made.detectSpeech({ body, query });
  if (error) return error;
  if (!data || typeof data === 'string' || Array.isArray(data)) throw new Error(String(data));
  return data;
}
async function others() {
  return {
    timestamps: (await made.detectSpeechTimestamps({ body: { file } })).data?.length,
    models: (await made.listModels()).data?.models.some((model) => model.default),
    options: (await made.listOptions()).data?.modes.some((each) => each.mode === 'tight'),
    health: (await made.getHealth()).data?.status,
    sample: ((await made.getSample()).data as Blob).size,
  };
}
"""


WITH_A_KEY = {
    "openapi-python-client": """
import json, os
from made import AuthenticatedClient
from made.api.detection import detect_speech
from made.models import DetectSpeechBody
from made.types import File

body = DetectSpeechBody(file=File(payload=open(os.environ["AUDIO"], "rb").read(), file_name="bursts.wav"))
def status(key):
    client = AuthenticatedClient(base_url=os.environ["URL"], token=key)
    return int(detect_speech.sync_detailed(client=client, body=body).status_code)
print(json.dumps([status("open-sesame"), status("wrong")]))
""",
    "openapi-generator-cli": """
import json, os
import made

def status(**given):
    with made.ApiClient(made.Configuration(host=os.environ["URL"], **given)) as client:
        try:
            return made.DetectionApi(client).detect_speech_with_http_info(file=os.environ["AUDIO"]).status_code
        except made.ApiException as error:
            return error.status
assert status(api_key={"header": "open-sesame"}) == 200
print(json.dumps([status(access_token="open-sesame"), status(access_token="wrong")]))
""",
}
"""How two of them are told a key: nothing is added to what they have made."""


@pytest.fixture
def variables(server: RunningServer, speech_like: Path) -> dict[str, str]:
    return {"URL": server.url, "AUDIO": str(speech_like)}


@pytest.mark.parametrize("generator", WITH_A_KEY)
def test_a_key_is_sent(generator: str, small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    program = tool(PYTHON_TOOLS, generator)
    with running_server(small_model, tmp_path, {"VAD_API_KEYS": "open-sesame"}) as guarded:
        url = f"{guarded.url}/openapi.json"
        commands = {
            "openapi-python-client": ["generate", "--url", url, "--meta", "none", "--output-path", "made"],
            "openapi-generator-cli": [
                "generate", "-g", "python", "-i", url, "-o", ".", "--additional-properties=packageName=made",
            ],
        }  # fmt: skip
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        run(program, *commands[generator], cwd=tmp_path, PATH=path)
        variables = {"URL": guarded.url, "AUDIO": str(speech_like)}
        assert told_by_python(tmp_path, WITH_A_KEY[generator], variables) == [200, 401]


def is_expected(told: Any, server: RunningServer) -> bool:
    assert told == {**EXPECTED, "sample": len(server.get("/sample.wav").content)}
    return True


def test_openapi_python_client(server: RunningServer, variables: dict[str, str], tmp_path: Path) -> None:
    program = tool(PYTHON_TOOLS, "openapi-python-client")
    # With the formatter that it runs: nothing is to be warned of.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run(program, "generate", "--url", f"{variables['URL']}/openapi.json", "--meta", "none", "--output-path", "made",
        "--fail-on-warning", cwd=tmp_path, PATH=path)  # fmt: skip
    assert is_expected(told_by_python(tmp_path, OPENAPI_PYTHON_CLIENT, variables), server)


def test_openapi_generator(server: RunningServer, variables: dict[str, str], tmp_path: Path) -> None:
    program = tool(PYTHON_TOOLS, "openapi-generator-cli")
    run(program, "generate", "-g", "python", "-i", f"{variables['URL']}/openapi.json", "-o", ".",
        "--additional-properties=packageName=made", cwd=tmp_path)  # fmt: skip
    assert is_expected(told_by_python(tmp_path, OPENAPI_GENERATOR, variables), server)


def test_orval(server: RunningServer, variables: dict[str, str], tmp_path: Path) -> None:
    output = {"target": "made.ts", "client": "fetch", "baseUrl": variables["URL"]}
    config = {"made": {"input": f"{variables['URL']}/openapi.json", "output": output}}
    (tmp_path / "orval.config.mjs").write_text(f"export default {json.dumps(config)};")
    run(tool(NODE_TOOLS, "orval"), "--config", "orval.config.mjs", cwd=tmp_path)
    assert is_expected(told_by_node(tmp_path, TYPESCRIPT.replace("IMPORTS", ORVAL), variables), server)


def test_hey_api(server: RunningServer, variables: dict[str, str], tmp_path: Path) -> None:
    run(tool(NODE_TOOLS, "openapi-ts"), "-i", f"{variables['URL']}/openapi.json", "-o", "made", cwd=tmp_path)
    assert is_expected(told_by_node(tmp_path, TYPESCRIPT.replace("IMPORTS", HEY_API), variables), server)
