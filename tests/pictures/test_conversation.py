"""Pictures in conversations: any form and place, the prefix cache, and errors of one request."""

import asyncio
import base64
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from realizar import LLM, AsyncLLM, Embeddings, SamplingParams, Tokens
from realizar.errors import ContextFullError, ParameterError, PictureError, TemplateError
from realizar.params import EngineParams
from realizar.pictures.kind import PICTURE

from .cases import PICTURES, QWEN3, RECIPES, TOKENS, Case
from .painted import painted

GREEDY = SamplingParams(temperature=0.0, max_tokens=6)


def file_of(pixels, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def data_url(pixels):
    return "data:image/png;base64," + base64.b64encode(file_of(pixels)).decode()


def image_url(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text(words):
    return {"type": "text", "text": words}


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


@pytest.fixture(scope="module")
def llm():
    with LLM(QWEN3.model) as llm:  # its mmproj file is beside it
        yield llm


def test_the_rows_are_between_the_tokens_of_the_template(llm):
    prompt = llm.chat_prompt(user(text("Look: "), image_url(data_url(PICTURES[0])), text("and tell.")))
    before, rows, after = prompt.ids
    assert [type(part) for part in prompt.ids] == [Tokens, Embeddings, Tokens]
    assert llm.detokenize(before.ids, skip_special=False).endswith("user\nLook: <|vision_start|>")
    assert llm.detokenize(after.ids, skip_special=False).startswith("<|vision_end|>and tell.<|im_end|>")
    assert rows.rows.shape == (15, 3 * 32)
    assert rows.positions.max(axis=1).tolist() == [0, 4, 2]
    assert prompt.n_tokens == len(before.ids) + 15 + len(after.ids)


def test_every_form_of_a_picture_is_the_same(llm, tmp_path):
    path = tmp_path / "a photo.png"
    path.write_bytes(file_of(PICTURES[0]))
    forms = [
        image_url(data_url(PICTURES[0])), image_url(path.as_uri()), image_url(str(path)), path, path.read_bytes(),
        PICTURES[0], Image.fromarray(PICTURES[0]), {"type": "image", "image": Image.fromarray(PICTURES[0])},
        {"type": "image", "path": str(path)}, {"type": "input_image", "image_url": data_url(PICTURES[0])},
        np.dstack([PICTURES[0], PICTURES[0][:, :, :1]]),
    ]  # fmt: skip
    prompts = [llm.chat_prompt(user(form, text("What is it?"))).ids for form in forms]
    assert len({parts[1].rows.tobytes() for parts in prompts}) == 1
    assert len({parts[1].key for parts in prompts}) == 1


def test_a_picture_that_comes_again_is_neither_encoded_nor_prefilled():
    with LLM(QWEN3.model) as llm:
        encoder = llm._encoder_of(PICTURE)
        first = llm.chat(user(image_url(data_url(PICTURES[0])), text("What is this?")), GREEDY)
        assert (first.timings.n_cached, encoder.stats().n_encoded) == (0, 1)
        second = llm.chat(user(image_url(data_url(PICTURES[0])), text("What colour?")), GREEDY)
        assert second.timings.n_cached >= 16, "the block with most of the picture"
        assert (encoder.stats().n_encoded, encoder.stats().n_hits) == (1, 1)
        other = painted(*PICTURES[0].shape[:2], seed=9)
        third = llm.chat(user(image_url(data_url(other)), text("What is this?")), GREEDY)
        assert third.timings.n_cached == 0, "the tokens are the same, the pixels are not"
        with LLM(QWEN3.model) as alone:
            assert alone.chat(user(other, text("What is this?")), GREEDY).text == third.text


def test_several_pictures_in_several_turns(llm):
    messages = [
        *user(PICTURES[0], text("One"), PICTURES[1]),
        {"role": "assistant", "content": "Two pictures."},
        *user(text("And this? "), PICTURES[0]),
    ]
    parts = llm.chat_prompt(messages).ids
    assert [len(part.rows) for part in parts if isinstance(part, Embeddings)] == [15, 8, 15]
    assert llm.chat(messages, GREEDY).timings.n_prompt == sum(
        len(part.rows) if isinstance(part, Embeddings) else len(part.ids) for part in parts
    )


def test_a_template_that_knows_no_pictures(llm):
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    parts = llm.chat_prompt(user(text("See"), PICTURES[0], text("this")), chat_template=template).ids
    assert llm.detokenize(parts[0].ids, skip_special=False) == "[user] See\n<|vision_start|>"
    assert llm.detokenize(parts[2].ids, skip_special=False) == "<|vision_end|>\nthis\n"
    assert "<|image_pad|>" in llm.chat_text(user(PICTURES[0]), chat_template=template)


def test_asyncio_and_streams(llm):
    messages = user(PICTURES[0], text("What is this?"))
    want = llm.chat(messages, GREEDY).text

    async def ask():
        async with AsyncLLM(QWEN3.model) as own:
            return (await own.chat(messages, GREEDY)).text, "".join(
                [p async for p in own.chat(messages, GREEDY, stream=True)]
            )

    assert asyncio.run(ask()) == (want, want)
    assert "".join(llm.chat(messages, GREEDY, stream=True)) == want


@pytest.mark.parametrize("allowed", ["https://example.org/", ["example.org"], ["*"], [""], [b"https://"], None, 1])
def test_what_allowed_urls_cannot_begin_with(allowed):
    with pytest.raises(ParameterError, match=r"allow_urls.*https://HOST/"):
        EngineParams(allow_urls=allowed)


def test_the_mmproj_file_is_pickled_with_the_model():
    given = {"mmproj": QWEN3.mmproj, "allow_urls": ["https://example.org/"]}
    with LLM(QWEN3.model, **given) as llm, pickle.loads(pickle.dumps(llm)) as copy:
        assert copy.params.mmproj == str(QWEN3.mmproj)
        assert copy.params.allow_urls == ("https://example.org/",)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (image_url("data:image/png;base64,"), "has no data"),
        (image_url("data:image/png;base64,AAAA"), "cannot be read; PNG, JPEG"),
        (image_url("https://example.org/a.png"), "reads no remote pictures.*allow_urls"),
        (image_url("/no/such/file.png"), "No such file"),
        ({"type": "image_url", "image_url": {}}, "a part with a picture must be"),
        ({"type": "image", "image": 3}, "a picture is a URL"),
        (np.zeros((4, 4, 3)), "must be uint8"),
        (np.zeros((1, 400, 3), np.uint8), "at most 200 times as long"),
        (file_of(PICTURES[0])[:1000], "cannot be read"),
    ],
)
def test_a_bad_picture_is_an_error_of_its_request(llm, part, problem):
    with pytest.raises(PictureError, match=problem):
        llm.chat(user(part, text("What is it?")))
    assert llm.chat(user(text("Hello")), GREEDY).outputs


def test_a_marker_in_the_text_is_an_error(llm):
    with pytest.raises(TemplateError, match=r"1 pictures, but .* 2 times"):
        llm.chat(user(PICTURES[0], text("<|vision_start|><|image_pad|><|vision_end|>")))


def test_a_model_without_an_encoder_says_so(tmp_path):
    path = tmp_path / "text.gguf"
    path.write_bytes(QWEN3.model.read_bytes())
    with LLM(path) as llm, pytest.raises(PictureError, match="no encoder of them: give its mmproj"):
        llm.chat(user(PICTURES[0]))


@pytest.mark.parametrize("case", [QWEN3, TOKENS], ids=lambda case: case.name)
def test_pictures_that_do_not_fit_together_are_not_encoded(case):
    with LLM(case.model, n_ctx=256) as small:
        with pytest.raises(ContextFullError, match=r"of 200 pictures have \d+ rows, but 256 fit"):
            small.chat(user(*(painted(40, 40, seed) for seed in range(200))))
        assert small._encoder_of(PICTURE).stats().n_encoded == 0


def test_more_rows_than_the_context(llm):
    with LLM(QWEN3.model, n_ctx=32) as small, pytest.raises(ContextFullError):
        small.chat(user(*[PICTURES[0]] * 3))


def shown(case, *parts):
    """The prompt of a message as text, with the number of rows of each picture's part."""
    with LLM(case.model) as llm:
        prompt = llm.chat_prompt(user(*parts)).ids
        texts = [
            f"[{len(p.rows)}]" if isinstance(p, Embeddings) else llm.detokenize(p.ids, skip_special=False)
            for p in prompt
        ]
        return "".join(texts), [p.mask for p in prompt if isinstance(p, Embeddings)]


def test_gemma_3_reads_a_square_in_both_directions():
    found, masks = shown(Case("gemma3"), PICTURES[0], text("What is this?"))
    assert "user\n\n\n<start_of_image>[4]<end_of_image>\n\nWhat is this?<end_of_turn>\n" in found
    assert masks == ["bidirectional"]


def test_smolvlm_reads_tiles_and_the_whole():
    found, _ = shown(Case("idefics3"), PICTURES[0], text("What is this?"))
    around = "<fake_token_around_image>"
    rows = "".join("".join(f"{around}<row_{r}_col_{c}>[4]" for c in (1, 2)) + "\n" for r in (1, 2))
    assert f"User:{rows}\n{around}<global-img>[4]{around}What is this?<end_of_utterance>" in found


def test_smolvlm_cuts_fewer_tiles_for_a_small_context():
    case = Case("idefics3")
    assert [len(case.encoder(max_rows=n).parts(PICTURES[:1])[0]) for n in (20, 19)] == [13, 3]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("gemma4v", "[user]<|image>[60]<image|>What?[assistant]"),
        ("lfm2", "[user]<|image_start|><|img_row_1_col_1|>[4]<|img_row_2_col_1|>[4]<|img_thumbnail|>[6]<|image_end|>"
         "What?[assistant]"),
        ("pixtral", "[user]" + "[IMG_BREAK]".join(["[3]"] * 4) + "[IMG_END]What?[assistant]"),
        ("internvl", "[user]<img>[4][4][4]</img>What?[assistant]"),
        ("mlp", "[user][16]What?[assistant]"),
        ("llama4", "[user]<|image_start|>[4]<|tile_x_separator|>[4]<|tile_y_separator|>[4]<|tile_x_separator|>[4]"
         "<|tile_y_separator|><|image|>[4]<|image_end|>What?[assistant]"),
        ("paddleocr", "[user]<|IMAGE_START|>[15]<|IMAGE_END|>What?[assistant]"),
    ],
)  # fmt: skip
def test_what_surrounds_the_rows_of_a_picture(name, shape):
    assert shown(Case(name), PICTURES[0], text("What?"))[0] == shape


def test_chameleon_reads_a_picture_as_tokens():
    case = TOKENS
    codes = case.golden["codes_0"].tolist()
    with LLM(case.model) as llm:
        (prompt,) = [part.ids for part in llm.chat_prompt(user(PICTURES[0], text("What?"))).ids[1:2]]
        around = llm.chat_prompt(user(PICTURES[0], text("What?"))).ids
        assert list(prompt) == codes
        assert llm.detokenize(around[0].ids, skip_special=False).endswith("[user]<racm3:break>")
        assert llm.detokenize(around[2].ids, skip_special=False).startswith("<eoss>What?")
        answer = llm.chat(user(PICTURES[0], text("What?")), GREEDY)
        assert not set(answer.outputs[0].token_ids) & set(range(264, 280)), "tokens of pictures are no part of answers"


@pytest.mark.parametrize("name", ["gemma3", "idefics3", *RECIPES])
def test_a_second_question_finds_the_picture_in_the_prefix_cache(name):
    with LLM(Case(name).model) as llm:
        first = llm.chat(user(PICTURES[0], PICTURES[1], text("What is this?")), GREEDY)
        second = llm.chat(user(PICTURES[0], PICTURES[1], text("What is this?")), GREEDY)
        other = llm.chat(user(painted(75, 50, seed=9), PICTURES[1], text("What is this?")), GREEDY)
        assert (first.text, first.timings.n_cached) == (second.text, 0)
        assert second.timings.n_cached >= 16 > other.timings.n_cached
