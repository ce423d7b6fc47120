"""Sparse attention to the keys that an indexer chooses: deepseek32 and glm-dsa."""

from functools import partial

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.arch import ArchMetadata, registry
from realizar.errors import GGUFError, ParameterError
from realizar.gguf import GGUFFile
from realizar.model import load
from realizar.testing import Session, check_architecture, random_tokens, tiny_metadata, tiny_model
from tests.arch.test_deepseek import LATENT
from tests.isa import LEVELS
from tests.limits.models import rewritten
from tests.shared import SHARED, needs_shared

SPARSE = {
    **LATENT, "attention.indexer.head_count": 6, "attention.indexer.key_length": 64, "attention.indexer.top_k": 9,
}  # fmt: skip
LONG = {"block_count": 1, "leading_dense_block_count": 1, "context_length": 1024, "attention.indexer.top_k": 600}
VARIANTS = {
    "odd sizes": {"attention.indexer.head_count": 5, "attention.indexer.key_length": 40, "rope.dimension_count": 20,
                  "attention.key_length_mla": 44, "attention.kv_lora_rank": 40},
    "one key": {"attention.indexer.top_k": 1},
    "more keys than tokens": {"attention.indexer.top_k": 200},
    "yarn": {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.yarn_log_multiplier": 0.07,
             "rope.scaling.original_context_length": 64},
    "many heads": {"attention.head_count": 100, "attention.key_length_mla": 40, "attention.value_length_mla": 8},
}  # fmt: skip


def metadata(name, **changes):
    return {f"{name}.{key}": value for key, value in {**SPARSE, **changes}.items()}


def tiny(name, folder, **changes):
    keys = {**tiny_metadata(name), **metadata(name, **changes)}
    return tiny_model(registry.default().architecture(name), keys, "Q8_0", folder)


def check(name, types=("Q8_0",), **changes):
    check_architecture(registry.default().architecture(name), metadata(name, **changes), types, LEVELS)


def test_deepseek32():
    check("deepseek32", types=("F16", "Q4_K"))


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name):
    check("deepseek32", **VARIANTS[name])


def test_layers_that_share_the_chosen_keys():
    check("glm-dsa", **{"block_count": 4, "attention.indexer.types": [True, False, False, True]})


def chosen(model, tokens, **options):
    """The chosen keys of every layer that chooses some."""
    names = [value.name for value in model.graphs["decode"].values if value.name.endswith(".keys")]
    return names, Session(model, model.plan(outputs=names), **options).prompt(tokens, len(tokens))


def test_a_query_attends_to_the_chosen_keys_only(tmp_path):
    """Where the first layer attends is what its indexer chose: with these keys overridden, the rest changes."""
    tokens = random_tokens()
    with tiny("deepseek32", tmp_path) as model:
        (first, *_), found = chosen(model, tokens)
        ids = found[first].astype(int)
        for t, row in enumerate(ids):
            kept = row[row >= 0]
            assert len(kept) == min(9, t + 1)
            assert kept.max() <= t
            assert (np.diff(kept) > 0).all()
        replayed = Session(model, model.plan(overrides=[first]))
        same = replayed.step([(0, 0, tokens)], overrides=found)["logits"]
        np.testing.assert_array_equal(same, Session(model, model.plan()).prompt(tokens, 45)["logits"])
        newest = np.full_like(found[first], -1)
        for t in range(len(tokens)):
            newest[t, : min(9, t + 1)] = np.arange(max(0, t - 8), t + 1)
        other = Session(model, model.plan(overrides=[first])).step([(0, 0, tokens)], overrides={first: newest})
        np.testing.assert_array_equal(other["logits"][:9], same[:9])
        assert not np.array_equal(other["logits"][20:], same[20:])


def test_overridden_keys_cannot_leave_the_cache(tmp_path):
    tokens = random_tokens()
    with tiny("deepseek32", tmp_path) as model:
        (first, *_), found = chosen(model, tokens)
        for wrong in (np.nan, 1e30, -1.0, 44.0):
            ids = np.full_like(found[first], wrong)
            Session(model, model.plan(overrides=[first])).step([(0, 0, tokens)], overrides={first: ids})


def test_more_chosen_keys_than_a_split(tmp_path):
    """Queries behind key 600: the same bits for any chunks, threads and ISA levels, also in batches of one token."""
    tokens, other = random_tokens(700), random_tokens(650, seed=1)
    with tiny("deepseek32", tmp_path, **LONG) as model:
        new = partial(Session, model, model.plan(), n_ctx=1024)
        want = new(n_threads=1).prompt(tokens, 700)["logits"]
        for session, chunk in ((new(n_threads=3), 300), (new(isa=LEVELS[0]), 97)):
            np.testing.assert_array_equal(session.prompt(tokens, chunk)["logits"], want)
        session = new(n_threads=3)
        session.step([(1, 0, other[:640]), (0, 0, tokens[:690])])
        for i in range(10):
            step = session.step([(1, 640 + i, other[640 + i : 641 + i]), (0, 690 + i, tokens[690 + i : 691 + i])])
            np.testing.assert_array_equal(step["logits"][1], want[690 + i])
        with pytest.raises(ParameterError, match="scores of keys exist for 1024"):
            session.step([(0, 1020, tokens[:10])], block_tables=(np.zeros((1, 70), np.int32),))


@needs_shared
@pytest.mark.parametrize("kv_type", ["f16", "int8", "q4"])
def test_the_engine_gives_the_same_completions(kv_type):
    """Alone, together, in small chunks, after a cached prefix, and in forks."""
    path = SHARED / "parity2026" / "deepseek32" / "model-q8_0.gguf"
    prompts = [random_tokens(60), random_tokens(60)[:40] + random_tokens(20, seed=2), random_tokens(35, seed=3)]
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)
    forks = SamplingParams(seed=3, n=3, max_tokens=20, ignore_eos=True)
    with LLM(path, kv_type=kv_type) as llm:
        want = [llm.generate([prompt], params)[0].token_ids for prompt in prompts]
        several = [each.token_ids for each in llm.generate([prompts[0]], forks)[0].outputs]
    with LLM(path, kv_type=kv_type, n_batch=16) as llm:
        for n_cached in (0, 48):
            assert [found.token_ids for found in llm.generate(prompts, params)] == want
            assert llm.stats().n_cached >= n_cached
        assert [each.token_ids for each in llm.generate([prompts[0]], forks)[0].outputs] == several


def test_draft_blocks_are_no_layers(tmp_path):
    with tiny("deepseek32", tmp_path) as model:
        path = model.file.path
    with GGUFFile(path) as file:
        block = [name for name in file.tensors if name.startswith("blk.1.")]
        more = {name.replace("blk.1.", "blk.2."): np.ones(file.tensors[name].shape) for name in block}
    more["blk.2.nextn.eh_proj.weight"] = np.ones((256, 512))
    keys = {"deepseek32.block_count": 3, "deepseek32.nextn_predict_layers": 1}
    found = load(rewritten(path, tmp_path / "draft.gguf", keys, more=more))
    plain = load(path)
    for_all = [Session(m, m.plan()).prompt(random_tokens(), 48)["logits"] for m in (found, plain)]
    np.testing.assert_array_equal(*for_all)
    found.close()
    plain.close()


def test_early_files_of_glm_5_2(tmp_path):
    """They have indexers in all layers and do not say which are used; the context tells them from GLM-5."""
    with tiny("glm-dsa", tmp_path, block_count=7) as model:
        path = model.file.path
    late = rewritten(path, tmp_path / "late.gguf", {"glm-dsa.context_length": 2**20})
    for file, full in ((path, [1] * 7), (late, [1, 1, 1, 0, 0, 0, 1])):
        model = load(file)
        assert [int(each) for each in model.hp.indexer.full] == full
        assert sum(node.op == "choose_keys" for node in model.graphs["decode"].nodes) == sum(full)
        model.close()


def test_the_first_layer_must_choose(tmp_path):
    md = ArchMetadata({**tiny_metadata("glm-dsa"), **metadata("glm-dsa", **{"attention.indexer.types": [False, True]})},
                      "glm-dsa")  # fmt: skip
    with pytest.raises(GGUFError, match=r"glm-dsa\.attention\.indexer\.types: the first layer must choose keys"):
        registry.default().architecture("glm-dsa").hparams(md)
