"""hf: names with the real huggingface-hub, which talks to a small copy of the hub on this machine."""

import json
import os
import subprocess
import sys

import pytest

from tests.store.fake_hub import COMMITS, DATA, TOKEN, FakeHub

ASK = """
import json, sys
from realizar.store import hub, pull
def ask(name):
    try:
        return hub.matching(*name.split("|")) if "|" in name else str(pull(name))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
print(json.dumps([ask(name) for name in sys.argv[1:]]))
"""


@pytest.fixture
def hub():
    names = ["README.md", "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"]
    files = {COMMITS["main"]: dict.fromkeys(names, DATA), COMMITS["v1"]: {"m-Q4_K_M.gguf": DATA[::-1]}}
    with FakeHub(files) as hub:
        yield hub
        hub.shutdown()


@pytest.fixture
def ask(hub, tmp_path):
    """Return what `pull` gives for some names in a new process, which reads the environment."""

    def ask(*names, **environment):
        set_ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, **environment}
        set_ |= {"REALIZAR_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        command = [sys.executable, "-c", ASK, *names]
        done = subprocess.run(command, env=kept | set_, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return ask


def test_quantizations_revisions_and_offline_mode(hub, ask):
    online = ask(
        "hf:owner/repo:Q4_K_M", "hf:owner/repo:q8_0", "hf:owner/repo@v1:Q4_K_M", "hf:owner/repo:Q5_K_M",
        "hf:owner/repo@v2:Q4_K_M", "hf:owner/other:Q4_K_M", "hf:owner/repo/none.gguf",
    )  # fmt: skip
    paths, errors = online[:3], online[3:]
    assert [path.rpartition("snapshots/")[2] for path in paths] == [
        f"{'a' * 40}/m-Q4_K_M.gguf", f"{'a' * 40}/m-Q8_0-00001-of-00002.gguf", f"{'b' * 40}/m-Q4_K_M.gguf"
    ]  # fmt: skip
    assert "the repository has no Q5_K_M, but Q4_K_M, Q8_0; did you mean Q4_K_M?" in errors[0]
    assert "the repository has no revision v2" in errors[1]
    assert all("no such file, or it requires a login (HF_TOKEN)" in error for error in errors[2:])
    n = len(hub.requests)
    offline = ask(
        "hf:owner/repo:Q4_K_M", "hf:owner/repo:Q8_0", "hf:owner/repo@v1:Q4_K_M", "hf:owner/repo:Q2_K",
        "hf:owner/repo/none.gguf", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert offline[:3] == paths
    assert "not in the cache, and HF_HUB_OFFLINE forbids" in offline[3]
    assert "is not in the cache" in offline[4]
    assert len(hub.requests) == n


def test_globs_of_files(ask):
    globs = ["owner/repo|*Q4_K_M.gguf", "owner/repo|*Q8_0*.gguf", "owner/repo|*.gguf", "owner/other|*.gguf"]
    one, split, several, none = ask(*globs)
    assert (one, split) == ("hf:owner/repo/m-Q4_K_M.gguf", "hf:owner/repo/m-Q8_0-00001-of-00002.gguf")
    assert "'*.gguf' matches 2 model files of owner/repo; it has m-Q4_K_M.gguf, m-Q8_0-00001-of-00002.gguf" in several
    assert "no such repository" in none
    ask("hf:owner/repo:Q4_K_M", "hf:owner/repo:Q8_0")
    assert ask(*globs[:2], HF_HUB_OFFLINE="1") == [one, split]


def test_without_token(ask):
    (found,) = ask("hf:owner/repo:Q4_K_M", HF_TOKEN="hf_wrong")
    assert "requires a login (HF_TOKEN)" in found


def test_broken_download_is_resumed(hub, ask):
    data, chunk = DATA * 12, 10 * 2**20  # huggingface-hub writes chunks of 10 MiB
    hub.files[COMMITS["main"]]["m-Q6_K.gguf"] = data
    hub.cut = chunk + 1000
    (path,) = ask("hf:owner/repo:Q6_K")
    with open(path, "rb") as file:
        assert file.read() == data
    assert f"bytes={chunk}-" in [range_ for _, _, range_ in hub.requests]


def test_without_the_hub_an_earlier_download_is_used(hub, ask):
    (path,) = ask("hf:owner/repo:Q4_K_M")
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    again, other = ask("hf:owner/repo:Q4_K_M", "hf:owner/repo:Q8_0", **nowhere)
    assert again == path
    assert other.startswith("DownloadError: hf:owner/repo:Q8_0: download failed")


def test_a_glob_without_the_hub(hub, ask):
    (found,) = ask("owner/repo|*Q4_K_M.gguf", HF_ENDPOINT="http://127.0.0.1:9")
    assert found.startswith("DownloadError: owner/repo: the hub cannot be reached (")
    (path,) = ask("hf:owner/repo:Q4_K_M")
    hub.speaks_html = True
    assert ask("owner/repo|*Q4_K_M.gguf") == [f"hf:owner/repo/{os.path.basename(path)}"]
