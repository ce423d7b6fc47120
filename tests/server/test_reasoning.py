"""Reasoning in every protocol: apart from the answer, in whole responses and streams, counted, and given back."""

import json

import pytest

openai = pytest.importorskip("openai", reason="needs the extra server, and openai")
anthropic = pytest.importorskip("anthropic", reason="needs the extra server, and anthropic")
ollama = pytest.importorskip("ollama", reason="needs the extra server, and ollama")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.calls import templates  # noqa: E402
from tests.scripts import scripted  # noqa: E402
from tests.server.serving import QUESTION, TOOLS, serving, write_model  # noqa: E402

TEMPLATE = templates.HERMES.replace(
    "<|im_start|>{{ m.role }}\n",
    "<|im_start|>{{ m.role }}\n{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' if m.reasoning_content }}",
)
THOUGHT, ANSWER = "Let me see.", "It is warm."
MARKED = f"<think>\n{THOUGHT}\n</think>\n\n"
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Thinker:
    """A server whose model writes what `text` says, and that keeps the last prompt."""

    def __init__(self, server):
        self.server = server
        self.text = MARKED + ANSWER
        self.prompt = ""
        self.llm = server.pool.models[0].llm
        self._events = self.llm.events
        self.llm.events = self._scripted

    def _scripted(self, prompt):
        self.prompt = self.llm.detokenize(prompt.ids, skip_special=False)
        return self._events(scripted(self.llm, prompt, self.text))

    def post(self, path, **body):
        status, found = self.server.post(path, body)
        assert status == 200, found
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(write_model(tmp_path_factory.mktemp("thinks") / "tiny.gguf", TEMPLATE)) as server:
        yield Thinker(server)


@pytest.fixture
def thinker(served):
    served.text = MARKED + ANSWER
    return served


def n_tokens(thinker, text):
    return len(thinker.llm.tokenize(text, add_special=False, parse_special=True))


def test_chat_completions(thinker):
    with openai.OpenAI(base_url=f"{thinker.server.url}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "tiny", "messages": QUESTION, "logprobs": True, "n": 2}
        answer = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for choice in answer.choices:
        assert (choice.message.reasoning_content, choice.message.content) == (THOUGHT, ANSWER)
        logprobs = choice.logprobs
        assert "".join(each.token for each in logprobs.content[:-1]) == ANSWER  # and the end token
        assert "".join(each["token"] for each in logprobs.reasoning_content) == MARKED
    n = n_tokens(thinker, MARKED)
    for usage in (answer.usage, chunks[-1].usage):
        assert usage.completion_tokens_details.reasoning_tokens == 2 * n
    for i, choice in enumerate(answer.choices):
        found = [chunk.choices[0] for chunk in chunks if chunk.choices and chunk.choices[0].index == i]
        deltas = [each.delta for each in found]
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == THOUGHT
        assert "".join(delta.content or "" for delta in deltas) == ANSWER
        logprobs = [each.logprobs for each in found if each.logprobs]
        assert [t.token for each in logprobs for t in each.content] == [t.token for t in choice.logprobs.content]
        thoughts = [t["token"] for each in logprobs for t in getattr(each, "reasoning_content", [])]
        assert thoughts == [t["token"] for t in choice.logprobs.reasoning_content]


def test_reasoning_of_earlier_answers_reaches_the_template(thinker):
    for key in ("reasoning_content", "reasoning"):
        talk = [*QUESTION, {"role": "assistant", "content": ANSWER, key: THOUGHT}, *QUESTION]
        thinker.post("/v1/chat/completions", messages=talk)
        assert MARKED + ANSWER in thinker.prompt
    blocks = [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": ANSWER}]
    talk = [*QUESTION, {"role": "assistant", "content": blocks}, *QUESTION]
    thinker.post("/v1/messages", messages=talk, max_tokens=50)
    assert MARKED + ANSWER in thinker.prompt
    talk = [*QUESTION, {"role": "assistant", "content": ANSWER, "thinking": THOUGHT}, *QUESTION]
    thinker.post("/api/chat", model="tiny", messages=talk, stream=False)
    assert MARKED + ANSWER in thinker.prompt
    first = thinker.post("/v1/responses", input="Why?")
    thinker.post("/v1/responses", input="And?", previous_response_id=first["id"])
    assert MARKED + ANSWER in thinker.prompt


def test_a_begun_thought_is_continued(thinker):
    thinker.text = f"see.\n</think>\n\n{ANSWER}"
    talk = [*QUESTION, {"role": "assistant", "content": "", "reasoning_content": "Let me "}]
    message = thinker.post("/v1/chat/completions", messages=talk)["choices"][0]["message"]
    assert thinker.prompt.endswith("<think>\nLet me ")
    assert (message["reasoning_content"], message["content"]) == ("see.", ANSWER)
    thinker.text = "<think> is a tag."
    talk[-1] = {"role": "assistant", "content": "The word ", "reasoning_content": THOUGHT}
    message = thinker.post("/v1/chat/completions", messages=talk)["choices"][0]["message"]
    assert thinker.prompt.endswith(MARKED + "The word ")
    assert (message.get("reasoning_content"), message["content"]) == (None, "<think> is a tag.")


def test_responses(thinker):
    with openai.OpenAI(base_url=f"{thinker.server.url}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "tiny", "input": "Why?", "include": ["message.output_text.logprobs"]}
        answer = client.responses.create(**asked)
        events = list(client.responses.create(**asked, stream=True))
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert (answer.output[0].content[0].text, answer.output_text) == (THOUGHT, ANSWER)
    part = answer.output[1].content[0]
    assert "".join(each.token for each in part.logprobs) == ANSWER
    assert answer.usage.output_tokens_details.reasoning_tokens == n_tokens(thinker, MARKED)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == THOUGHT


@pytest.mark.parametrize("tools", [None, TOOLS], ids=["text", "call"])
def test_messages(thinker, tools):
    if tools:
        thinker.text = MARKED + CALL
        tools = [{"name": "weather", "input_schema": TOOLS[0]["function"]["parameters"]}]
    with anthropic.Anthropic(base_url=thinker.server.url, api_key="none", max_retries=0) as client:
        asked = {"model": "tiny", "messages": QUESTION, "max_tokens": 150, **({"tools": tools} if tools else {})}
        message = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
    for found in (message, streamed):
        assert [block.type for block in found.content] == ["thinking", "tool_use" if tools else "text"]
        assert found.content[0].thinking == THOUGHT
        assert found.content[1].input == {"city": "Rome"} if tools else found.content[1].text == ANSWER


def test_ollama(thinker):
    client = ollama.Client(thinker.server.url)
    answer = client.chat("tiny", QUESTION)
    assert (answer.message.thinking, answer.message.content) == (THOUGHT, ANSWER)
    parts = [part.message for part in client.chat("tiny", QUESTION, stream=True)]
    assert "".join(part.thinking or "" for part in parts) == THOUGHT
    assert "".join(part.content for part in parts) == ANSWER
    generated = client.generate("tiny", "Why?")
    assert (generated.thinking, generated.response) == (THOUGHT, ANSWER)
    assert "thinking" in client.show("tiny").capabilities


def test_completions_are_plain_text(thinker):
    text = thinker.post("/v1/completions", prompt="Why?", max_tokens=60)["choices"][0]["text"]
    assert text == MARKED + ANSWER


def test_a_schema_holds_for_the_answer(thinker):
    thinker.text = MARKED + '{"city":"Rome"}'
    schema = TOOLS[0]["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    message = thinker.post("/v1/chat/completions", messages=QUESTION, response_format=wanted)["choices"][0]["message"]
    assert message["reasoning_content"] == THOUGHT
    assert json.loads(message["content"]) == {"city": "Rome"}
    chosen = {"type": "function", "function": {"name": "weather"}}
    thinker.text = MARKED + CALL
    choice = thinker.post("/v1/chat/completions", messages=QUESTION, tools=TOOLS, tool_choice=chosen)["choices"][0]
    assert choice["message"]["reasoning_content"] == THOUGHT
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}


def test_new_messages_after_an_answer(thinker):
    talk = [*QUESTION, {"role": "assistant", "content": ANSWER}]
    for options in ({"add_generation_prompt": True}, {"continue_final_message": False}):
        thinker.post("/v1/chat/completions", messages=talk, **options)
        assert thinker.prompt.endswith("<|im_start|>assistant\n")
    status, body = thinker.server.post(
        "/v1/chat/completions", {"messages": talk, "add_generation_prompt": True, "continue_final_message": True}
    )
    assert (status, "give one of them" in body["error"]["message"]) == (400, True)
