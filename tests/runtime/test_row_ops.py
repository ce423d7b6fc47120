"""Ops on rows that no other test's architecture has: products with a tensor, tables looked up by id."""

import numpy as np

from realizar.arch import Architecture, Weight
from realizar.testing import Session, check_architecture, prompt_of_parts, tiny_metadata, tiny_model
from tests.isa import LEVELS


class Rows(Architecture):
    """A second table by id, and products with one number, with a vector for all heads, and with one for each."""

    name = "rows"

    def tensors(self, hp):
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "second": Weight((hp.n_vocab, hp.n_embd)),
            "number": Weight((1,)),
            "vector": Weight((hp.head_dim,)),
            "matrix": Weight((hp.n_head, hp.head_dim)),
            "output": Weight((hp.n_embd, hp.n_embd)),
        }

    def build(self, g, w, hp):
        x = g.heads(g.embed(w.token_embd) + g.embed_ids(w.second, scale=3.0), hp.n_head)
        for weight in (w.number, w.vector, w.matrix):
            x = g.mul_weight(x, weight)
        return g.linear(x, w.output)


def test_conformance():
    check_architecture(Rows, types=("F32", "Q8_0", "Q4_K"), isa_levels=LEVELS)


def test_a_row_that_enters_as_an_embedding_has_id_0(tmp_path):
    with tiny_model(Rows(), tiny_metadata("rows"), "F32", tmp_path) as model:
        tokens, fields = prompt_of_parts(model.graphs["decode"])
        found = Session(model, model.plan(outputs=["token_embd", "second"])).step([(0, 0, tokens)], **fields)
        rows = fields["embedding_rows"]
        assert np.array_equal(found["token_embd"][rows], fields["embeddings"])
        assert np.array_equal(found["second"], 3 * model.tensors["second.weight"].floats()[tokens])
        assert not np.array(tokens)[rows].any()
