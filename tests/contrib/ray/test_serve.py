"""Two replicas behind Ray Serve: they answer, one is killed under load, and their number follows the queue."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.clocks import wait_until
from tests.contrib.ray.conftest import worker_processes
from tests.meta.house import ROOT
from tests.server.serving import write_model

pytestmark = pytest.mark.ray

PORT = 18650
KEY = "a key"


@pytest.fixture(scope="module")
def args(tmp_path_factory):
    """Settings of a server with a tiny model."""
    model = write_model(tmp_path_factory.mktemp("served") / "tiny.gguf")
    return {"models": [str(model)], "n_threads": 1, "n_ctx": 512, "api_key": KEY, "log_format": "json"}


@pytest.fixture(scope="module")
def serve(cluster):
    from ray import serve

    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    yield serve
    serve.shutdown()


@pytest.fixture(scope="module")
def client():
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers={"x-api-key": KEY}, timeout=None) as found:
        yield found


@pytest.fixture(scope="module")
def replicas(cluster, serve, args, tmp_path_factory):
    """The two replicas of docs/deployment/serve.yaml, with other settings; the processes."""
    import yaml

    config = yaml.safe_load((ROOT / "docs/deployment/serve.yaml").read_text())
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    config["http_options"] = {"host": "127.0.0.1", "port": PORT}
    application["args"] = args
    deployment["ray_actor_options"]["num_cpus"] = 1
    file = tmp_path_factory.mktemp("config") / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    command = Path(sys.executable).with_name("serve")
    address = cluster.get_runtime_context().gcs_address
    subprocess.run([command, "run", "--address", address, "--non-blocking", file], check=True)
    wait_until(lambda: serve.status().applications["realizar"].status == "RUNNING")
    return worker_processes("ray::ServeReplica:realizar")


def ask(client, own, n_tokens=16, path="", **headers):
    """Request a completion under this id; return its status, or the type of the error of the connection."""
    body = {"prompt": f"Count {own}", "max_tokens": n_tokens, "ignore_eos": True}
    try:
        response = client.post(f"{path}/v1/completions", json=body, headers={"x-request-id": own, **headers})
    except httpx.TransportError as error:
        return type(error)
    if response.status_code == 503:
        assert response.json()["error"]["code"] in ("replica_lost", "model_not_ready", None), response.text
    return response.status_code


def answers(cluster, ids):
    """Return for each id the names of the log files, one of each replica, that have an answer to it."""
    found = {own: [] for own in ids}
    for path in cluster.logs.glob("worker-*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{") and (entry := json.loads(line)).get("request_id") in found and "status" in entry:
                found[entry["request_id"]].append((path.name, entry["status"]))
    return found


def test_a_request_needs_a_key(replicas, client):
    response = httpx.get(f"http://127.0.0.1:{PORT}/v1/models", timeout=None)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert client.get("/ready").json() == {"status": "ready"}


def test_two_replicas_answer_and_a_session_stays_at_one(cluster, replicas, client):
    assert len(replicas) == 2
    alone = [f"alone-{uuid4().hex}" for _ in range(24)]
    together = [f"together-{uuid4().hex}" for _ in range(8)]
    assert {ask(client, own) for own in alone} == {200}
    assert {ask(client, own, **{"x-session-id": "one"}) for own in together} == {200}
    wait_until(lambda: all(answers(cluster, alone + together).values()))
    assert len({name for where in answers(cluster, alone).values() for name, _ in where}) == 2
    assert len({name for where in answers(cluster, together).values() for name, _ in where}) == 1


def test_a_replica_is_killed_under_load(cluster, replicas, serve, client):
    """Each request is answered once, or fails by name; afterwards two replicas answer again."""
    ids = [f"load-{uuid4().hex}" for _ in range(200)]
    outcomes = {}
    enough = threading.Event()

    def send(own):
        outcomes[own] = ask(client, own, n_tokens=64)
        if len(outcomes) == 60:
            enough.set()

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(send, own) for own in ids]
        enough.wait()
        replicas[0].kill()
        for each in done:
            each.result()

    counts = Counter(outcomes.values())
    print(f"\n200 requests of 8 clients, a replica killed: {dict(counts)}")
    assert set(counts) <= {200, 503, httpx.RemoteProtocolError, httpx.ReadError}
    assert counts[200] >= 150
    found = answers(cluster, ids)
    assert all(len(where) <= 1 for where in found.values())
    assert {own for own in ids if outcomes[own] == 200} <= {own for own in ids if found[own]}

    wait_until(lambda: len(worker_processes("ray::ServeReplica:realizar")) == 2)
    wait_until(lambda: serve.status().applications["realizar"].status == "RUNNING")
    assert {ask(client, f"after-{uuid4().hex}") for _ in range(16)} == {200}


def test_streams_of_killed_replicas_do_not_look_complete(serve, replicas, client):
    body = {"prompt": "Count", "max_tokens": 480, "ignore_eos": True, "stream": True}
    begun = threading.Barrier(9)

    def read(_):
        try:
            with client.stream("POST", "/v1/completions", json=body) as response:
                lines = filter(None, response.iter_lines())
                next(lines)
                begun.wait()
                return list(lines)[-1]
        except httpx.TransportError as error:
            return type(error)

    with ThreadPoolExecutor(8) as pool:
        ends = pool.map(read, range(8))
        begun.wait()
        for process in worker_processes("ray::ServeReplica:realizar"):
            process.kill()
        counts = Counter(ends)
    print(f"\n8 streams, both replicas killed: {dict(counts)}")
    assert set(counts) <= {"data: [DONE]", httpx.RemoteProtocolError, httpx.ReadError}
    wait_until(lambda: len(worker_processes("ray::ServeReplica:realizar")) == 2)
    wait_until(lambda: serve.status().applications["realizar"].status == "RUNNING")


def check_that_going_away_cancels(client):
    """A client that closes its stream ends its request; there is one replica."""
    body = {"prompt": "Count", "max_tokens": 480, "ignore_eos": True, "stream": True}
    with client.stream("POST", "/v1/completions", json=body) as response:
        next(response.iter_lines())
    wait_until(lambda: 'vllm:num_requests_running{model_name="tiny"} 0.0' in client.get("/metrics").text)
    assert 'realizar:request_aborted_total{model_name="tiny"} 1.0' in client.get("/metrics").text


def test_replicas_follow_the_queue_and_drain(serve, args, client):
    """A request with sixteen prompts is one for Serve, but sixteen for the engine."""
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    from realizar.contrib.ray.autoscaling import by_queue
    from realizar.contrib.ray.serve import deployment

    config = AutoscalingConfig(
        min_replicas=1, max_replicas=2, target_ongoing_requests=4, upscale_delay_s=0, look_back_period_s=2,
        policy=AutoscalingPolicy(policy_function=by_queue),
    )  # fmt: skip
    serve.delete("realizar")
    serve.run(deployment(args).options(autoscaling_config=config).bind(), name="scaled", route_prefix="/")
    assert len(worker_processes("ray::ServeReplica:scaled")) == 1
    check_that_going_away_cancels(client)
    body = {"prompt": [f"Count {i}" for i in range(16)], "max_tokens": 480, "ignore_eos": True}
    while len(worker_processes("ray::ServeReplica:scaled")) < 2:
        response = client.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
    wait_until(lambda: serve.status().applications["scaled"].status == "RUNNING")

    with client.stream("POST", "/v1/completions", json={**body, "prompt": "Count", "stream": True}) as response:
        lines = filter(None, response.iter_lines())
        next(lines)  # the replica is at work
        with ThreadPoolExecutor(1) as pool:
            pool.submit(serve.delete, "scaled")
            assert list(lines)[-1] == "data: [DONE]"
