"""A cluster of Ray on this machine, which the tests with the marker `ray` share."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster():
    """The module ray, connected to a new cluster that needs a token; `cluster.logs` is its folder of logs."""
    before = dict(os.environ)
    # Read when ray is imported, and by the processes that it starts.
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "realizar.contrib.ray.proxy:middlewares",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "OMP_NUM_THREADS": "1",
    }
    ray = pytest.importorskip("ray", reason="Ray is missing: pip install 'realizar[ray]'")
    folder = tempfile.mkdtemp(prefix="rz", dir="/tmp")  # a short path: Unix sockets are in it
    try:
        start(ray, folder)
        ray.logs = Path(folder, "session_latest", "logs")
        yield ray
        ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.clear()
        os.environ.update(before)


def start(ray, folder, attempts=3):
    """Start the cluster; Ray waits 15 to 30 seconds for its parts, which a busy machine exceeds."""
    try:
        ray.init(
            num_cpus=4, object_store_memory=80 * 2**20, include_dashboard=False, log_to_driver=False, _temp_dir=folder
        )  # fmt: skip
    except Exception as error:
        ray.shutdown()
        if attempts == 1 or "timed out during startup" not in str(error):
            raise
        start(ray, folder, attempts - 1)


def worker_processes(kind):
    """The processes of this cluster's workers whose title begins so, such as "ray::ServeReplica"."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(kind):
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found
