"""Encoders, and decoders that answer to what an encoder read, through the engine: bits, memory, errors."""

from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM
from realizar.arch import registry
from realizar.engine.cache.sequence import Sequence
from realizar.engine.engine import Engine
from realizar.errors import ContextFullError, GGUFError, ParameterError
from realizar.params import EngineParams, SamplingParams
from realizar.testing import N_CTX, Session, random_tokens, tiny_metadata, tiny_model
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.speculation.oracle import Oracle
from tests.limits.models import rewritten

TEXTS = [random_tokens(n, seed) for seed, n in enumerate((60, 1, 16, 33, 59))]
GREEDY = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
KEYS = {
    "bert": {"tokenizer.ggml.token_type_count": 2, "bert.context_length": 100},
    "t5": {"t5.attention.relative_buckets_count": 32, "t5.decoder_start_token_id": 3},
    "llama": {},
}


def tiny(name, folder):
    return tiny_model(registry.default().architecture(name), {**tiny_metadata(name), **KEYS[name]}, "Q8_0", folder)


@pytest.fixture(scope="module", params=["bert", "t5"])
def model(request, tmp_path_factory):
    with tiny(request.param, tmp_path_factory.mktemp("tiny")) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        yield model


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    with tiny("t5", tmp_path_factory.mktemp("tiny")) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        yield model


def engine(model, **params):
    return Engine(model, EngineParams(**{"n_threads": 2, "n_batch": 64, "n_seqs": 2, "n_ctx": 80, **params}))


def encoded(engine, *texts):
    requests = [engine.embed(text) for text in texts]
    engine.wait(lambda: all(request.is_over for request in requests))
    assert [request.error for request in requests] == [None] * len(texts)
    return [request.hidden for request in requests]


def answers(engine, *prompts):
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


def test_answers_to_an_encoder_input_with_drafts_and_without(t5):
    alone = answers(engine(t5), *TEXTS)
    texts = [[3, *answer] for answer in alone]
    its = engine(t5)
    # Answers of which one begins as another one get its drafts, too; some are wrong then.
    its.speculator = Oracle(
        lambda tokens, n: next(text for text in texts if text[: len(tokens)] == tokens)[len(tokens) :][:n], n_batch=64
    )
    assert answers(its, *TEXTS) == alone
    assert its.speculator.n_guessed > 0
    check_cache(its.cache, [])


def test_company_does_not_show_in_a_text(model):
    together = encoded(engine(model), *TEXTS)
    for text, states in zip(TEXTS, together, strict=True):
        (alone,) = encoded(engine(model, n_threads=1), text)
        np.testing.assert_array_equal(alone.view(np.uint32), states.view(np.uint32))
        assert states.shape == (len(text), 256)


def test_texts_share_steps_without_padding(model):
    steps = []
    its = engine(model)
    run = its.runner.run
    its.runner.run = lambda batch, *args: (steps.append(batch), run(batch, *args))[1]
    encoded(its, *TEXTS)
    assert [batch.seq_start.tolist() for batch in steps] == [[0, 60, 61], [0, 16, 49], [0, 59]]


def test_an_encoder_remembers_nothing(tmp_path):
    with tiny("bert", tmp_path) as model:
        its = engine(model)
        encoded(its, *TEXTS)
        assert its.cache.n_bytes == 0


def test_an_encoder_writes_nothing(tmp_path):
    with tiny("bert", tmp_path) as model:
        for ask in (lambda: engine(model).generate([1], GREEDY), lambda: engine(model).logits([1])):
            with pytest.raises(ParameterError, match="bert is an encoder, which writes no text; use embed"):
                ask()


def test_a_text_must_fit_a_step_and_the_context(model):
    with pytest.raises(ParameterError, match="70 tokens, which an encoder reads in one step, but n_batch=64; ask for"):
        engine(model).embed(random_tokens(70))
    with pytest.raises(ContextFullError, match="81 tokens do not fit"):
        engine(model).embed(random_tokens(81))


def test_longer_contexts_than_learned_positions(tmp_path):
    with tiny("bert", tmp_path) as model, pytest.raises(ParameterError, match="has only 100 positions"):
        engine(model, n_ctx=101)


def test_answers_alone_and_in_company(t5):
    its = engine(t5)
    together = answers(its, *TEXTS)
    assert together == [answers(engine(t5), text)[0] for text in TEXTS]
    assert together[0] != together[3]
    assert all(pool.n_free == pool.n_blocks for pool in its.cache.pools)
    check_cache(its.cache, [])


def test_the_encoder_runs_once_for_a_prompt(t5):
    its = engine(t5)
    programs = []
    run = its.runner.run
    its.runner.run = lambda batch, outputs, program: (programs.append(program), run(batch, outputs, program))[1]
    answers(its, TEXTS[0], TEXTS[3])
    assert programs.count("encode") == 2  # 60 and 33 tokens do not fit one step of 64
    assert programs.count("decode") == 13  # the second answer begins a step later


def test_logits_of_an_answer_do_not_depend_on_the_cut(t5):
    answer = [3, *random_tokens(40, seed=9)]
    found = []
    for n_batch in (64, 60):
        its = engine(t5, n_batch=n_batch, n_ctx=60)
        request = its.logits(answer, encoder_tokens=TEXTS[0])
        its.wait(lambda request=request: request.is_over)
        found.append(request.logits)
    np.testing.assert_array_equal(*found)
    greedy = answers(engine(t5), TEXTS[0])[0]
    request = its.logits([3, *greedy[:-1]], encoder_tokens=TEXTS[0])
    its.wait(lambda: request.is_over)
    assert request.logits.argmax(axis=1).tolist() == greedy


def test_both_texts_are_needed(t5, tmp_path):
    with pytest.raises(ParameterError, match="give decoder_tokens, too, beginning with 3"):
        engine(t5).logits([1])
    with tiny("llama", tmp_path) as model, pytest.raises(ParameterError, match="no encoder: give no decoder_tokens"):
        engine(model).logits([1], encoder_tokens=[1])


def test_forks_keep_the_encoder_input(t5):
    its = engine(t5)
    seq = Sequence(its.cache, [3], TEXTS[0])
    seq.reserve_encoder_input()
    seq.encoder_computed = True
    fork = seq.fork()
    assert fork.tables == seq.tables
    assert fork.encoder_computed
    seq.free()
    assert not seq.encoder_computed
    fork.truncate(0)
    assert sum(map(len, fork.tables)) == 4
    fork.free()
    assert all(pool.n_free == pool.n_blocks for pool in its.cache.pools)


def test_states_of_a_decoder(tmp_path):
    with tiny("llama", tmp_path) as model:
        (states,) = encoded(engine(model), TEXTS[0])
        (chunked,) = encoded(engine(model, n_batch=7), TEXTS[0])
        np.testing.assert_array_equal(states, chunked)
        assert states.shape == (60, 256)
        assert model.hidden == "output_norm"
        assert model.pooling == "last"


def test_a_step_that_would_look_beyond_its_tables_is_refused(t5):
    session = Session(t5, t5.plan("decode"))
    batch = session.batch([(0, 0, random_tokens(20)), (1, 0, random_tokens(3))])
    narrow = tuple(table[:, :1].copy() for table in batch.block_tables)
    one = np.ones(2, np.int32)
    for changed, says in (
        (replace(batch, block_tables=narrow, encoder_lengths=one), "1 blocks of 16 for a sequence of 20 tokens"),
        (replace(batch, encoder_lengths=(N_CTX + 1) * one), "8 blocks of 16 for a sequence of 129 tokens"),
        (replace(batch, encoder_lengths=0 * one), "an encoder input of 0 tokens"),
    ):
        with pytest.raises(ParameterError, match=says):
            session.compiled.run(changed)


def test_an_answer_is_scored_after_its_encoder_input(t5):
    its, answer = engine(t5), random_tokens(20, seed=9)
    scored = its.score(TEXTS[0], answer, 1)
    wanted = its.logits([3, *answer[:-1]], encoder_tokens=TEXTS[0])
    its.wait(lambda: scored.is_over and wanted.is_over)
    x = wanted.logits.astype(float)
    x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
    np.testing.assert_allclose([s.logprob for s in scored.score().logprobs], x[range(20), answer], atol=1e-5)


@pytest.mark.parametrize("params", [{"echo": True}, {"prompt_logprobs": 0}, {"token_healing": True}])
def test_what_needs_a_prompt_to_go_on_from(t5, params):
    with pytest.raises(ParameterError, match=f"{next(iter(params))}: this model answers what its encoder reads"):
        engine(t5).generate(TEXTS[0], SamplingParams(**params))


def tiny_bert(folder, **keys):
    """The file of a tiny BERT, with the head of a reranker."""
    metadata = {**tiny_metadata("bert"), **KEYS["bert"], **keys}
    with tiny_model(registry.default().architecture("bert"), metadata, "Q8_0", folder) as model:
        return rewritten(model.file.path, folder / "m.gguf")


def test_a_vector_for_each_token(tmp_path):
    """Pooling type 0: the file says that there is no pooling."""
    texts = [random_tokens(5), random_tokens(9)]
    with LLM(tiny_bert(tmp_path, **{"bert.pooling_type": 0})) as llm:
        found = llm.embed(texts)
        assert [vectors.shape for vectors in found] == [(5, 256), (9, 256)]
        for vectors, states in zip(found, llm.embed(texts, pooling=None), strict=True):
            np.testing.assert_array_equal(vectors, states)


def test_a_reranker_has_no_vectors(tmp_path):
    with LLM(tiny_bert(tmp_path, **{"bert.pooling_type": 4})) as llm:
        with pytest.raises(ParameterError, match=r"^pooling='auto': m\.gguf is a reranker \(bert\.pooling_type = 4\)"):
            llm.embed(random_tokens(5))
        assert llm.embed(random_tokens(5), pooling="cls").shape == (1, 256)
        assert llm.embed(random_tokens(5), pooling="rank").shape == (1, 1)


@pytest.mark.parametrize("number", [-1, 5, "mean"])
def test_unknown_poolings(number, tmp_path):
    path = tiny_bert(tmp_path, **{"bert.pooling_type": number})
    with LLM(path) as llm, pytest.raises(GGUFError, match=r"bert\.pooling_type"):
        llm.embed(random_tokens(5))


@pytest.mark.parametrize(("number", "pooling"), [(1, "mean"), (2, "cls"), (3, "last"), (None, "mean")])
def test_poolings(number, pooling, tmp_path):
    with LLM(tiny_bert(tmp_path, **({} if number is None else {"bert.pooling_type": number}))) as llm:
        np.testing.assert_array_equal(llm.embed(random_tokens(5)), llm.embed(random_tokens(5), pooling))
