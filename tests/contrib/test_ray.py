"""What of the extra `ray` can be checked without Ray: its error, the examples in the docs, policy, middleware."""

import asyncio
import importlib
import importlib.util
import re
import sys
from types import SimpleNamespace

import httpx
import pytest
import yaml

from realizar.errors import MissingExtraError, RealizarError
from realizar.server.settings import read_settings
from tests.meta.house import ROOT

EXAMPLES = ROOT / "docs/deployment"


@pytest.fixture
def without_ray(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("realizar.contrib.ray")]:
        monkeypatch.delitem(sys.modules, name)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest))


@pytest.fixture
def as_if_with_ray(monkeypatch, without_ray):
    """Ray counts as installed; only modules that do not import it can be imported."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


def test_without_ray_the_extra_is_named(without_ray):
    with pytest.raises(MissingExtraError, match=r"pip install 'realizar\[ray\]'") as raised:
        importlib.import_module("realizar.contrib.ray.serve")
    assert isinstance(raised.value, RealizarError)
    assert isinstance(raised.value, ImportError)


def test_the_arguments_of_the_example_are_settings(tmp_path):
    (application,) = yaml.safe_load((EXAMPLES / "serve.yaml").read_text())["applications"]
    keys = tmp_path / "keys"
    keys.write_text("a key\n")
    settings = read_settings({**application["args"], "api_key_file": keys})
    assert settings.keys == ["a key"]
    (deployment,) = application["deployments"]
    assert deployment["ray_actor_options"]["num_cpus"] == settings.n_threads
    assert deployment["autoscaling_config"]["target_ongoing_requests"] == settings.n_seqs
    for path in (deployment["autoscaling_config"]["policy"]["policy_function"], application["import_path"]):
        module, function = path.split(":")
        assert f"\ndef {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


def test_the_manifest_for_kuberay_runs_the_same_application():
    manifest = yaml.safe_load((EXAMPLES / "rayservice.yaml").read_text())
    example = yaml.safe_load((EXAMPLES / "serve.yaml").read_text())
    del example["http_options"]  # those of the pods
    assert yaml.safe_load(manifest["spec"]["serveConfigV2"]) == example
    cluster = manifest["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_the_container_has_no_root_and_a_health_check():
    text = (EXAMPLES / "Containerfile").read_text()
    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["1000"]
    assert re.search(r"^HEALTHCHECK .*\\\n.*/ready", text, re.MULTILINE)
    assert "\nVOLUME /models\n" in text
    module, function = re.search(r"CALLBACK_IMPORT_PATH=([\w.]+):(\w+)", text).groups()
    assert f"\ndef {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize(
    ("metrics", "queued", "wanted"),
    [
        (None, None, 3),  # nothing is known: as it is
        ({"running": {"a": 0.0, "b": 0.0}, "waiting": {"a": 0.0, "b": 0.0}}, 0.0, 0),
        ({"running": {"a": 4.0, "b": 4.0}, "waiting": {"a": 0.5, "b": 0.0}}, None, 3),
        ({"running": {"a": 4.0}, "waiting": {"a": 12.0}}, 4.0, 5),
    ],
)
def test_the_policy_counts_requests_in_engines_and_proxies(as_if_with_ray, metrics, queued, wanted):
    from realizar.contrib.ray.autoscaling import by_queue

    context = SimpleNamespace(
        aggregated_metrics=metrics, total_queued_requests=queued, target_num_replicas=3, policy_state={"kept": 1},
        config=SimpleNamespace(target_ongoing_requests=4),
    )  # fmt: skip
    assert by_queue(context) == (wanted, {"kept": 1})


async def _lost(scope, receive, send):
    """An application whose replica ends before it answers."""


async def _begun(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_a_lost_replica_is_an_error_in_the_shape_of_the_api(as_if_with_ray):
    from realizar.contrib.ray.proxy import LostReplica

    async def get(app, path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(LostReplica(app)), base_url="http://x") as client:
            return await client.get(path)

    openai = asyncio.run(get(_lost, "/v1/completions"))
    assert (openai.status_code, openai.json()["error"]["code"]) == (503, "replica_lost")
    assert "retry-after" in openai.headers
    anthropic = asyncio.run(get(_lost, "/v1/messages"))
    assert (anthropic.status_code, anthropic.json()["type"]) == (503, "error")
    assert asyncio.run(get(_begun, "/v1/completions")).text == "done"
