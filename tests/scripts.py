"""A sampler that makes a model write given tokens, and then leaves it free."""

from dataclasses import replace

import numpy as np

from realizar import SamplingParams
from realizar._kernels import token_filters


class Script:
    """Keeps the tokens of a text, one after the other, in completions of a prompt of n_prompt tokens."""

    def __init__(self, ids, n_prompt, n_vocab):
        self._ids = ids
        self._n_prompt = n_prompt
        self._n_words = -(-n_vocab // 32)

    def apply(self, candidates, history):
        at = len(history) - self._n_prompt
        if at < len(self._ids):
            mask = np.zeros(self._n_words, np.uint32)
            mask[self._ids[at] // 32] = 1 << (self._ids[at] % 32)
            token_filters.keep_bits(candidates, mask)


def script(llm, n_prompt, text, ends=True):
    """Return a sampler that makes completions begin with a text, and maybe end there."""
    ids = llm.tokenize(text, add_special=False, parse_special=True)
    ids += [min(llm.tokenizer.eog_ids)] if ends else []
    return Script(ids, n_prompt, llm.tokenizer.n_vocab)


def scripted(llm, prompt, text, ends=True):
    """Return a ChatPrompt whose completions begin with a text."""
    sampler = script(llm, len(prompt.ids), text, ends)
    return prompt._replace(params=replace(prompt.params, samplers=(sampler, "temperature")))


GREEDY = SamplingParams(temperature=0.0, max_tokens=100)
