"""Slots: what is shown of them; saved to the operator's folder and nowhere else, restored from there."""

import os

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.errors import ParameterError
from realizar.server.settings import read_settings
from tests.clocks import wait_until
from tests.server.serving import QUESTION, Gate, serving, write_model
from tests.server.test_signals import Reader

CHAT = "/v1/chat/completions"
BODY = {"messages": QUESTION, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
NAME = {"filename": "a.bin"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slots")


@pytest.fixture(scope="module")
def saver(model_path, folder):
    with serving(model_path, slot_save_path=folder, n_seqs=2) as found:
        yield found


def slots(server):
    return {row["id"]: row for row in server.http.get("/slots").json()}


def test_a_slot_is_saved_and_restored_by_another_server(saver, model_path, folder):
    status, want = saver.post(CHAT, {**BODY, "id_slot": 1})
    assert status == 200
    n = want["usage"]["total_tokens"]
    assert slots(saver)[1]["n_past"] == n
    status, body = saver.post("/slots/1?action=save", NAME)
    assert status == 200, body
    assert (body["id_slot"], body["filename"], body["n_saved"]) == (1, "a.bin", n // 16 * 16)
    assert body["n_written"] == (folder / "a.bin").stat().st_size
    assert body["timings"]["save_ms"] > 0
    with serving(model_path, slot_save_path=folder, n_seqs=2) as other:
        status, body = other.post("/slots/0?action=restore", NAME)
        assert (status, body["n_restored"], body["n_read"]) == (200, n // 16 * 16, (folder / "a.bin").stat().st_size)
        assert slots(other)[0]["n_past"] == n // 16 * 16
        _, found = other.post(CHAT, BODY)
        assert found["usage"]["prompt_tokens_details"]["cached_tokens"] == want["usage"]["prompt_tokens"] // 16 * 16
        assert found["choices"] == want["choices"]
        assert other.post("/slots/0?action=save", {"filename": "b.bin"})[0] == 200


def test_an_erased_slot_has_nothing_to_save(saver):
    saver.post(CHAT, {**BODY, "id_slot": 0})
    n = slots(saver)[0]["n_past"]
    response = saver.http.post("/slots/0?action=erase")  # without a body
    assert (response.status_code, response.json()) == (200, {"id_slot": 0, "n_erased": n})
    status, body = saver.post("/slots/0?action=save", NAME)
    assert (status, body["error"]["code"]) == (400, "invalid_value")
    assert "no tokens" in body["error"]["message"]


def test_slots_are_shown_without_text(saver):
    gate, reader = Gate(saver.engine), Reader(saver.url)
    reader.start()
    gate.let(3)
    wait_until(lambda: len(reader.lines) > 4 and gate.n_asked == 4)
    busy = [row for row in slots(saver).values() if row["is_processing"]]
    gate.open()
    reader.join()
    (row,) = busy
    assert row["n_ctx"] == 512
    assert row["params"]["max_tokens"] == 20
    assert row["next_token"] == {"has_next_token": True, "n_remain": 17, "n_decoded": 3}
    assert "Rome" not in str(busy)
    wait_until(lambda: not any(row["is_processing"] for row in slots(saver).values()))


def test_the_slot_that_was_idle_longest_is_taken(saver):
    ids = []
    for _ in range(4):
        before = {number: row["id_task"] for number, row in slots(saver).items()}
        saver.post(CHAT, BODY)
        ids += [number for number, row in slots(saver).items() if row["id_task"] != before[number]]
    assert ids in ([0, 1, 0, 1], [1, 0, 1, 0])
    assert saver.post(CHAT, {**BODY, "id_slot": 2})[0] == 400


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a.bin",
        "a/b",
        "/etc/passwd",
        "a\\b",
        ".hidden",
        "a\0",
        "a\n",
        "-a",
        "a" * 129,
        "C:a",
        "ü",
        None,
    ],
)
@pytest.mark.parametrize("action", ["save", "restore"])
def test_names_that_are_refused(saver, folder, name, action):
    saver.post(CHAT, {**BODY, "id_slot": 0})
    before = sorted(folder.iterdir())
    status, body = saver.post(f"/slots/0?action={action}", {"filename": name})
    assert (status, body["error"]["param"]) == (400, "filename")
    assert sorted(folder.iterdir()) == before


def test_links_are_not_followed(saver, folder, tmp_path):
    saver.post(CHAT, {**BODY, "id_slot": 0})
    target = tmp_path / "target"
    target.write_bytes(b"before")
    (folder / "link").symlink_to(target)
    (folder / "dangling").symlink_to(tmp_path / "new")
    for name in ("link", "dangling"):
        for action in ("save", "restore"):
            assert saver.post(f"/slots/0?action={action}", {"filename": name})[0] == 400
    assert target.read_bytes() == b"before"
    assert not (tmp_path / "new").exists()


def test_files_that_cannot_be_restored(saver, folder, tmp_path):
    (folder / "broken").write_bytes(b"broken")
    (folder / "subfolder").mkdir()
    os.mkfifo(folder / "pipe")
    for name, status in (("missing", 404), ("subfolder", 404), ("pipe", 404), ("broken", 400)):
        found, body = saver.post("/slots/0?action=restore", {"filename": name})
        assert (found, body["error"]["param"]) == (status, "filename")
        assert str(folder) not in str(body)
    saver.post(CHAT, {**BODY, "id_slot": 0})
    found, body = saver.post("/slots/0?action=save", {"filename": "subfolder"})
    assert (found, body["error"]["code"]) == (503, "invalid_file")
    assert str(folder) not in str(body)


def test_a_file_of_another_model(saver, folder, tmp_path):
    with serving(write_model(tmp_path / "other.gguf", **{"general.name": "other"}), slot_save_path=folder) as other:
        other.post(CHAT, {**BODY, "id_slot": 0})
        assert other.post("/slots/0?action=save", {"filename": "other.bin"})[0] == 200
    status, body = saver.post("/slots/0?action=restore", {"filename": "other.bin"})
    assert (status, body["error"]["code"]) == (400, "invalid_file")
    assert "was saved with model=" in body["error"]["message"]


@pytest.mark.parametrize("path", ["/slots/2?action=save", "/slots/-1?action=save", "/slots/a?action=save", "/slots/0"])
def test_slots_and_actions_that_do_not_exist(saver, path):
    assert saver.post(path, NAME)[0] == 400


def test_without_the_option_nothing_is_saved(server):
    assert len(server.http.get("/slots").json()) == 4
    for action in ("save", "restore", "erase"):
        status, body = server.post(f"/slots/0?action={action}", NAME)
        assert (status, body["error"]["code"]) == (501, "not_supported")


def test_no_slot_is_idle(saver):
    assert saver.http.get("/slots?fail_on_no_slot=1").status_code == 200


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(ParameterError, match="there is no such folder"):
        read_settings({"models": ["a"], "slot_save_path": str(tmp_path / "missing")})
