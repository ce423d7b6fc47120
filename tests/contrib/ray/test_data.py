"""Embeddings and completions over Parquet with Ray Data: workers and the driver are killed, and the job goes on."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.clocks import wait_until
from tests.contrib.ray.conftest import worker_processes
from tests.limits.models import QWEN2
from tests.server.serving import write_model

pytestmark = pytest.mark.ray

N_ROWS = 10_000
N_PARTS = 40
RUN = """
import json, sys
import ray
from realizar.contrib.ray.data import Embed
from realizar.contrib.ray.parquet import run

address, *paths = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
report = run(*paths[:2], Embed, {"model": paths[2]}, n_workers=2, rows_per_part=256)
print(json.dumps(vars(report)))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder with 10,000 rows in two files, of two row groups each."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("texts")
    for begin in range(0, N_ROWS, N_ROWS // 2):
        ids = range(begin, begin + N_ROWS // 2)
        table = pa.table({"id": ids, "text": [f"text number {i} of many" for i in ids]})
        pq.write_table(table, folder / f"from-{begin}.parquet", row_group_size=N_ROWS // 4)
    return folder


def test_ten_thousand_rows_with_a_worker_and_the_driver_killed(cluster, texts, tmp_path):
    import pyarrow.parquet as pq

    from realizar import LLM

    out = tmp_path / "out"
    address = cluster.get_runtime_context().gcs_address
    command = [sys.executable, "-c", RUN, address, str(texts), str(out), str(QWEN2)]

    def n_parts():
        return len(list(out.glob("part-*.parquet")))

    driver = subprocess.Popen(command, stdout=subprocess.PIPE)
    wait_until(lambda: n_parts() >= N_PARTS // 4 or driver.poll() is not None)
    worker_processes("ray::MapWorker")[0].kill()
    wait_until(lambda: n_parts() >= N_PARTS // 2 or driver.poll() is not None)
    driver.kill()
    driver.communicate()
    wait_until(lambda: not worker_processes("ray::MapWorker"))
    n_before = n_parts()
    print(f"\nkilled: a worker at {N_PARTS // 4} parts or more, the driver at {n_before} of {N_PARTS}")
    assert N_PARTS // 2 <= n_before < N_PARTS

    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    assert (report["n_parts_before"], report["n_parts"], report["n_errors"]) == (n_before, N_PARTS - n_before, 0)

    table = pq.read_table(out)
    assert table.column_names == ["id", "text", "embedding", "error"]
    assert table.column("id").to_pylist() == list(range(N_ROWS))
    with LLM(QWEN2, n_threads=1) as llm:
        some = [0, 255, 256, 2499, 2500, 9999]
        expected = llm.embed([f"text number {i} of many" for i in some])
    assert np.array_equal(np.array(table.column("embedding").take(some).to_pylist(), np.float32), expected)
    assert sorted(p.name for p in out.iterdir() if p.name.startswith((".", "_"))) == ["_job.json"]


def test_a_folder_of_another_job_is_refused(texts, tmp_path):
    from realizar.contrib.ray.data import Embed, Generate
    from realizar.contrib.ray.parquet import run
    from realizar.errors import ParameterError

    out = tmp_path / "out"
    out.mkdir()
    job = {"source": [], "worker": "realizar.contrib.ray.data.Embed", "arguments": {}, "rows_per_part": 256}
    (out / "_job.json").write_text(json.dumps(job))
    with pytest.raises(ParameterError, match=r"another job \(source, worker differ\)"):
        run(texts, out, Generate, {})
    os.remove(out / "_job.json")
    (out / "mine.txt").write_text("")
    with pytest.raises(ParameterError, match=r"it has files and no _job\.json"):
        run(texts, out, Embed, {})
    with pytest.raises(ParameterError, match="rows_per_part=0: must be at least 1"):
        run(texts, out, Embed, {}, rows_per_part=0)
    with pytest.raises(ParameterError, match="no Parquet file"):
        run(tmp_path / "nowhere", out, Embed, {})


def test_rows_that_cannot_be_computed_say_why(cluster):
    """The classes in a `map_batches` of one's own."""
    import pyarrow as pa

    from realizar.contrib.ray.data import Embed

    rows = pa.table({"id": [0, 1, 2, 3], "text": ["one", None, "word " * 5000, "three"]})
    found = cluster.data.from_arrow(rows).map_batches(
        Embed, fn_constructor_kwargs={"model": str(QWEN2), "n_threads": 1}, batch_format="pyarrow",
        compute=cluster.data.ActorPoolStrategy(size=1),
    ).take_all()  # fmt: skip
    assert [row["id"] for row in found] == [0, 1, 2, 3]
    assert [row["embedding"] is None for row in found] == [False, True, True, False]
    assert [row["error"] and row["error"].split(":")[0] for row in found] == [
        None, "ParameterError", "ContextFullError", None,
    ]  # fmt: skip


@pytest.mark.parametrize("messages", [False, True])
def test_completions_of_prompts_and_of_messages(cluster, tmp_path, messages):
    import pyarrow as pa

    from realizar import LLM, SamplingParams
    from realizar.contrib.ray.data import Generate

    model = str(write_model(tmp_path / "tiny.gguf"))
    texts = ["How many?", "How much?"]
    prompts = [[{"role": "user", "content": text}] for text in texts] if messages else texts
    params = {"max_tokens": 4, "temperature": 0.0, "ignore_eos": True}
    generate = Generate(model, params=params, n_threads=1, n_ctx=512)
    table = generate(pa.table({"id": [0, 1], "prompt": prompts}))
    with LLM(model, n_threads=1, n_ctx=512) as llm:
        own = SamplingParams(**params)
        expected = [llm.chat(one, own) for one in prompts] if messages else llm.generate(prompts, own)
    assert table.column("completion").to_pylist() == [one.text for one in expected]
    assert table.column("finish_reason").to_pylist() == ["length"] * 2
    assert table.column("n_completion_tokens").to_pylist() == [4, 4]
    assert table.column("n_prompt_tokens").to_pylist() == [one.timings.n_prompt for one in expected]
    assert table.column("reasoning").to_pylist() == [one.reasoning for one in expected]
    assert table.column("error").to_pylist() == [None, None]
    incomplete = generate(pa.table({"prompt": [prompts[0], None]}))
    assert incomplete.column("completion").to_pylist() == [expected[0].text, None]
    assert incomplete.column("error").to_pylist() == [None, "ParameterError: prompt is null"]
