"""`realizar batch`: results as the server's, many at once, resumed where a run ended."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from realizar.cli.batch_run import IN_FLIGHT, BatchRun
from realizar.store.cache import try_lock
from tests.cli.test_interrupt import CODE
from tests.clocks import wait_until
from tests.server.serving import serving, write_model

QUESTION = [{"role": "user", "content": "Why?"}]


def line(custom_id, url="/v1/chat/completions", method="POST", **body):
    body = body or {"messages": QUESTION, "max_tokens": 4, "temperature": 0}
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


MIXED = [
    line("chat"),
    line("text", "/v1/completions", prompt="The sky", max_tokens=3, seed=1),
    line("response", "/v1/responses", input="Why?", max_output_tokens=3, seed=1),
    line("vectors", "/v1/embeddings", input=["a", "b"]),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("batch") / "tiny.gguf"))


@pytest.fixture
def batch(realizar, model, tmp_path):
    """Run the lines of a batch; returns status, all results in their file, and the summary."""

    def run(lines, *options, name=model):
        (tmp_path / "in.jsonl").write_text("\n".join(lines))
        out = tmp_path / "out.jsonl"
        words = ("batch", str(tmp_path / "in.jsonl"), str(out), "-m", name, "-t", "1", "--n-ctx", "512", *options)
        status, written, err = realizar(*words)
        assert written == ""
        return status, [json.loads(each) for each in out.read_text().splitlines()] if out.exists() else None, err

    run.out = tmp_path / "out.jsonl"
    return run


def bare(body):
    """Return a body without what is new in each response, or depends on what was asked before."""
    changing = r'"(id|created|created_at|completed_at|cached_tokens)": ("[^"]*"|\d+)'
    return json.loads(re.sub(changing, r'"\1": 0', json.dumps(body)))


def test_results_are_those_of_the_server(batch, model):
    status, results, err = batch(MIXED)
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("4 answered; ")
    assert {tuple(result) for result in results} == {("id", "custom_id", "response", "error")}
    assert all(result["error"] is None and result["response"]["status_code"] == 200 for result in results)
    assert len({result["id"] for result in results} | {result["response"]["request_id"] for result in results}) == 8
    found = {result["custom_id"]: bare(result["response"]["body"]) for result in results}
    with serving(model) as server:
        for each in map(json.loads, MIXED):
            assert found[each["custom_id"]] == bare(server.post(each["url"], each["body"])[1])


def test_lines_that_fail_do_not_stop_the_others(batch):
    lines = [
        line("no messages", messages=[]), line("no model", model="gpt-4o", messages=QUESTION), "no json", "",
        line("good", model="mine", messages=QUESTION, max_tokens=2), line("good"), line("get", method="GET"),
        line("url", "/v1/images"), line("stream", stream=True), '{"method": "POST"}', "[]", '{"custom_id": "x"}',
        '{"custom_id": "nan", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x", "top_p": NaN}}',
    ]  # fmt: skip
    status, results, err = batch(lines, "--alias", "mine")
    assert status == 1
    assert err.startswith("1 answered, 11 failed")
    failed = {r["custom_id"]: r["response"]["status_code"] for r in results if r["response"] is not None}
    assert failed == {"no messages": 400, "no model": 404, "good": 200, "nan": 400}
    codes = {r["error"]["line"]: (r["custom_id"], r["error"]["code"]) for r in results if r["error"] is not None}
    assert codes == {
        3: (None, "invalid_json_line"), 6: ("good", "duplicate_custom_id"), 7: ("get", "invalid_method"),
        8: ("url", "invalid_url"), 9: ("stream", "invalid_value"), 10: (None, "missing_required_parameter"),
        11: (None, "invalid_request"), 12: ("x", "invalid_method"),
    }  # fmt: skip
    again = batch(lines, "--alias", "mine")
    assert (again[0], again[1]) == (1, results)
    assert again[2] == "0 answered, 12 had results, 11 failed\n"


def test_a_second_run_does_what_is_left(batch):
    lines = [line(str(i)) for i in range(6)]
    _, first, _ = batch(lines[:3])
    whole = batch.out.read_bytes()
    batch.out.write_bytes(whole[:-40])  # the last line is torn
    status, results, err = batch(lines)
    assert (status, err[: err.index(";")]) == (0, "4 answered, 2 had results")
    assert results[:2] == first[:2]
    assert sorted(result["custom_id"] for result in results) == list("012345")
    batch.out.write_bytes(whole[:-1])  # only the end of the line is missing
    assert [r["custom_id"] for r in batch(lines[:4])[1]] == [*(r["custom_id"] for r in first), "3"]
    batch.out.write_bytes(whole[:5])
    assert len(batch(lines[:1])[1]) == 1


def test_nothing_to_do_loads_no_model(batch):
    batch(MIXED[:1])
    assert batch(MIXED[:1], name="missing.gguf")[::2] == (0, "0 answered, 1 had results\n")
    assert batch([""], name="missing.gguf")[::2] == (0, "0 answered\n")
    status, results, err = batch(MIXED[:2], name="missing.gguf")
    assert (status, len(results)) == (1, 1)
    assert err.startswith("error: the model missing cannot be loaded: missing.gguf: is neither")


def test_other_files_are_not_overwritten(realizar, model, tmp_path):
    requests, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(MIXED[0])
    for text in ("my notes", "my notes\n", line("a") + "\n", '{"id":"batch_req_1"}\n{"custom_id": 1'):
        out.write_text(text)
        status, _, err = realizar("batch", str(requests), str(out), "-m", model)
        assert status == 1
        assert "line 1 is no result of a batch; choose a new file" in err
        assert out.read_text() == text


def test_files_that_cannot_be_used(realizar, model, tmp_path):
    good, absent = tmp_path / "in.jsonl", tmp_path / "absent" / "x.jsonl"
    good.write_text(line("a"))
    for source, target, expected, says in (
        (absent, tmp_path / "out", 1, "cannot be read"), (tmp_path, tmp_path / "out", 1, "cannot be read"),
        (good, absent, 1, "cannot be written"), (good, tmp_path, 1, "cannot be written"),
        (good, good, 2, "are the same file"), (good, "a\0b", 1, "cannot be written"),
    ):  # fmt: skip
        status, out, err = realizar("batch", str(source), str(target), "-m", model)
        assert (status, out, err.count("\n")) == (expected, "", 1)
        assert says in err
    assert not (tmp_path / "out").exists()


def test_two_processes_do_not_write_to_one_file(batch, tmp_path):
    with batch.out.open("ab") as stream:
        assert try_lock(stream)
        status, _, err = batch(MIXED[:1])
    assert status == 1
    assert "another process writes to it" in err


def test_many_requests_are_in_flight(batch, monkeypatch):
    running, most = 0, 0
    post = BatchRun._work.__globals__["InProcess"].post

    async def counted(self, *arguments):
        nonlocal running, most
        running += 1
        most = max(most, running)
        result = await post(self, *arguments)
        running -= 1
        return result

    monkeypatch.setattr("realizar.server.in_process.InProcess.post", counted)
    status, results, _ = batch([line(str(i)) for i in range(IN_FLIGHT + 6)])
    assert (status, len(results), most, running) == (0, IN_FLIGHT + 6, IN_FLIGHT, 0)


def start(*words, **more):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "batch", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def test_pipes_are_answered_while_they_are_open(model):
    with start("-", "-", "-m", model, "-t", "1", "--n-ctx", "512") as process:
        for name in ("one", "two"):
            process.stdin.write(line(name).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["custom_id"] == name
        out, err = process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert err.startswith(b"2 answered; ")


def test_ctrl_c_keeps_what_is_answered_and_does_not_wait_for_input(model, tmp_path):
    out = tmp_path / "out.jsonl"
    with start("-", str(out), "-m", model, "-t", "1", "--n-ctx", "20000") as process:
        long = line("long", messages=QUESTION, max_tokens=19000, ignore_eos=True)
        process.stdin.write(f"{long}\n{line('short')}\n".encode())
        process.stdin.flush()
        wait_until(lambda: process.poll() is not None or (out.exists() and out.read_text().endswith("\n")))
        process.send_signal(signal.SIGINT)
        err = process.stderr.read().decode()  # standard input stays open
        assert process.wait() == 130
    assert err.startswith("stopped: 1 answered; ")
    assert err.endswith("; the same command goes on from here\n")
    assert [json.loads(each)["custom_id"] for each in out.read_text().splitlines()] == ["short"]


def test_a_closed_pipe_ends_it_quietly(model):
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-c", CODE, "batch", "-", "-", "-m", model, "-t", "1"], stdin=subprocess.PIPE, stdout=write,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(write)
        _, err = process.communicate(line("a").encode())
    assert (process.returncode, err) == (1, b"")
