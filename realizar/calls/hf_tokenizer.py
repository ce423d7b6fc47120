"""HFTokenizer: a model's tokenizer with the methods and defaults of transformers' tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.messages import conversations_of
from realizar.calls.prompts import ChatOptions
from realizar.errors import ParameterError, TokenizerError, short_repr
from realizar.forks import cached_property

if TYPE_CHECKING:
    from realizar.calls.prompts import ChatPrompts
    from realizar.tokenizer import Tokenizer


class HFTokenizer:
    """What `LLM.get_tokenizer` returns. Names of special tokens in a text become special tokens, as in transformers.

    Parameters
    ----------
    tokenizer : Tokenizer
    prompts : callable
        Returns the `ChatPrompts` that renders conversations by a chat template, or by the model's own for None.

    Attributes
    ----------
    bos_token_id, eos_token_id : int | None
    vocab_size : int
        Number of tokens; also its length.
    """

    def __init__(self, tokenizer: Tokenizer, prompts: Callable[[Any], ChatPrompts]) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self.bos_token_id = tokenizer.bos_id
        self.eos_token_id = tokenizer.eos_id
        self.vocab_size = tokenizer.n_vocab

    def __repr__(self) -> str:
        return f"<HFTokenizer: {self.vocab_size} tokens, BOS {self.bos_token!r}, EOS {self.eos_token!r}>"

    def __len__(self) -> int:
        return self.vocab_size

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> dict[str, Any]:
        """Return the token ids of a text, or of several, as {"input_ids": ..., "attention_mask": ...}."""
        if isinstance(text, str):
            ids = self.encode(text, add_special_tokens)
            return {"input_ids": ids, "attention_mask": [1] * len(ids)}
        several = [self.encode(each, add_special_tokens) for each in text]
        return {"input_ids": several, "attention_mask": [[1] * len(ids) for ids in several]}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of a text. Raises TokenizerError if it is not valid Unicode."""
        return self._tokenizer.encode(text, add_special_tokens, parse_special=True)

    def decode(self, token_ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Return the text of token ids. Raises TokenizerError if an id does not exist."""
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        return self._tokenizer.decode(ids, skip_special_tokens)

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """Return the texts of several lists of token ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def tokenize(self, text: str, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of a text as the vocabulary writes them."""
        return [self._tokenizer.tokens[i] for i in self.encode(text, add_special_tokens)]

    def apply_chat_template(
        self, conversation: Sequence[Any],
        tools: Sequence[Mapping[str, Any]] | None = None, *, chat_template: Any = None,
        add_generation_prompt: bool = False, continue_final_message: bool = False, tokenize: bool = True,
        **variables: Any,
    ) -> Any:  # fmt: skip
        """Render one or several conversations with the model's chat template.

        Parameters
        ----------
        conversation : list of dict, or list of them
            See `LLM.chat`.
        tools : list of dict, optional
            In OpenAI's format.
        chat_template : str or PathLike, optional
            A template in place of the model's own; see `LLM.chat`.
        add_generation_prompt : bool
            End with the start of the assistant's turn.
        continue_final_message : bool
            End with the last message, without what the template writes after it; not with add_generation_prompt.
        tokenize : bool
            Return token ids instead of text.
        **variables
            Further variables of the template, such as enable_thinking.

        Returns
        -------
        list of int, or ChatText
            For several conversations a list of them. `LLM.generate` takes either.

        Raises
        ------
        TemplateError, ParameterError
            See `LLM.chat`.
        """
        for name in ("return_tensors", "return_dict"):
            if variables.pop(name, None):
                raise ParameterError(f"apply_chat_template: {name} is not supported; leave it out")
        options = ChatOptions(
            tools, variables=variables, continue_final=continue_final_message, begin=add_generation_prompt
        )
        prompts = self._prompts(chat_template)

        def rendered(messages: Sequence[Any]) -> Any:
            text = prompts.text(messages, options)
            return self._tokenizer.encode(text, add_special=False, parse_special=True) if tokenize else text

        several, conversations = conversations_of(conversation)
        return [rendered(each) for each in conversations] if several else rendered(conversation)

    @property
    def chat_template(self) -> str | None:
        """The jinja2 source of the chat template; None if the model has none."""
        template = self._tokenizer.chat_template
        return None if template is None else template.source

    @property
    def bos_token(self) -> str | None:
        """The token that begins a text, if the model has one."""
        return None if self.bos_token_id is None else self._tokenizer.tokens[self.bos_token_id]

    @property
    def eos_token(self) -> str | None:
        """The token that ends a text, if the model has one."""
        return None if self.eos_token_id is None else self._tokenizer.tokens[self.eos_token_id]

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of control tokens."""
        return [i for i in range(self.vocab_size) if self._tokenizer.is_hidden(i)]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._tokenizer.tokens)}

    def get_vocab(self) -> dict[str, int]:
        """Return all tokens as the vocabulary writes them -> id."""
        return dict(self._ids)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """Return the id of a token as the vocabulary writes it, or a list of ids; TokenizerError if there is none."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        if tokens not in self._ids:
            raise TokenizerError(f"the vocabulary has no token {short_repr(tokens)}")
        return self._ids[tokens]

    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> Any:
        """Return the token of an id as the vocabulary writes it, or a list of tokens; TokenizerError if none."""
        if not isinstance(ids, int):
            return [self.convert_ids_to_tokens(i) for i in ids]
        self._tokenizer.token_bytes(ids)  # checks it
        return self._tokenizer.tokens[ids]
