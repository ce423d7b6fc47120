"""The tutorials run, with a tiny model in place of the real one, and their pictures show the commands."""

import html
import importlib.util
import re
import socket

import pytest

from realizar import store
from tests.limits.models import LLAMA, TEMPLATE, rewritten
from tests.meta.house import ROOT

MODEL = store.cache_dir() / store.MODELS["smollm2"].file
TUTORIALS = ["architecture", "embed", "quantize", "run", "serve"]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("terminals", ROOT / "tools/terminals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return rewritten(LLAMA, tmp_path_factory.mktemp("tiny") / "tiny.gguf", {"tokenizer.chat_template": TEMPLATE})


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def shown(svg):
    """The text of a picture without white space, which rich breaks into lines."""
    return re.sub(r"\s", "", html.unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))))


def test_every_tutorial_is_here(tool):
    assert [page.stem for page in tool.PAGES] == TUTORIALS


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_commands_run(tool, tiny, tmp_path, name):
    page = (ROOT / f"docs/tutorials/{name}.md").read_text()
    page = page.replace("smollm2", str(tiny)).replace("8321", str(free_port()))
    found = tool.run(page, tmp_path)
    assert [command for command, _ in found] == tool.commands(page)
    assert found[-1][1].strip()  # the last one prints something


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_picture_shows_the_commands(tool, name):
    page = ROOT / f"docs/tutorials/{name}.md"
    assert f"(../pictures/terminal-{name}.svg)" in page.read_text()
    text = shown(tool.picture(page).read_text())
    for command in tool.commands(page.read_text()):
        assert "$" + re.sub(r"\s", "", command) in text


def test_a_command_that_fails_is_an_error(tool, tmp_path):
    with pytest.raises(RuntimeError, match="status 3: \\$ a\n\\$ b"):
        tool.run("```console\n$ echo a\n$ echo b; exit 3\n$ echo c\n```\n", tmp_path)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.skipif(not MODEL.is_file(), reason=f"the default model is not in the cache ({MODEL})")
@pytest.mark.parametrize("name", TUTORIALS)
def test_the_pictures_are_up_to_date(tool, name):
    page = ROOT / f"docs/tutorials/{name}.md"
    assert tool.drawn(page) == tool.picture(page).read_text(), "run python tools/terminals.py"
