"""Writes GBNF rules as a grammar in llguidance's dialect of Lark.

llguidance's lexer is greedy: if ``[a-z]+ "end"`` were two lexemes, the first would consume every ``end``. So a lexeme
is one character, except for the runs that runs.py finds, and the parser does everything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from realizar.errors import GrammarError
from realizar.sampling.grammar.nodes import Chars, Choice, Node, Ref, Repeat, Run, Sequence, Token
from realizar.sampling.grammar.schema import json_rule

MAX_RULES = 2000
"""Limit on rules and groups: llguidance follows a chain of rules by recursion, and 5000 overflowed an 8 MiB stack."""

MAX_DEFINED = 5000
"""Limit on rules and lexemes of a grammar in Lark: a chain of 60,000 overflowed even a stack of 128 MiB."""
MAX_LENGTH = 1 << 20
"""Limit on the characters of a grammar in Lark."""

MARK = "%llguidance"
"""The beginning of a grammar in this dialect, as in llama.cpp."""
# Strings, regular expressions, special tokens and comments are skipped; %json, %regex and ":" are captured.
_PARTS = re.compile(r'"(?:\\.|[^"\\\x00-\x1f\x7f])*"|/(?:\\.|[^/\\])+/|<[^<>\s]+>|(?:#|//)[^\n]*|(%json|%regex)\s*|(:)')
_HEAD = re.compile(rf"{MARK}[ \t]+(\{{[^\r\n]*\}})[ \t]*(?:\r?\n|$)")


def with_options(grammar: str) -> str:
    """Return a grammar with llguidance's forced tokens switched off.

    If only one text can follow, llguidance would insert the tokenizer's tokens for it, and a SentencePiece tokenizer
    adds a space before them. The model chooses the tokens instead.

    Raises
    ------
    GrammarError
        The grammar's own options are not a JSON object.
    """
    own: dict[str, object] = {}
    if grammar.startswith(MARK):
        head = _HEAD.match(grammar)
        try:
            own = json.loads(head[1] if head else "")
        except (ValueError, RecursionError):
            raise GrammarError(f"grammar: its first line must be {MARK} and a JSON object: {MARK} {{}}") from None
        grammar = grammar[head.end() if head else 0 :]
    return f"{MARK} {json.dumps({**own, 'no_forcing': True})}\n{grammar}"


def checked(grammar: str) -> str:
    """Return a user's grammar in Lark, with its JSON schemas rewritten like those of a request.

    Raises
    ------
    GrammarError
        The grammar is too large, or a schema in it is rejected.
    """
    if len(grammar) > MAX_LENGTH:
        raise GrammarError(f"grammar: {len(grammar)} characters, but the limit is {MAX_LENGTH}; make it smaller")
    parts: list[str] = []
    at = done = n_defined = 0
    while found := _PARTS.search(grammar, at):
        keyword, colon = found.groups()
        at = found.end()
        n_defined += colon is not None
        if keyword is not None:
            try:
                value, at = json.JSONDecoder().raw_decode(grammar, at)
            except (ValueError, RecursionError):
                break  # llguidance reports the error
            if keyword == "%json" and isinstance(value, dict):
                parts += [grammar[done : found.start()], json_rule(grammar[found.end() : at], lenient=None)]
                done = at
    if n_defined > MAX_DEFINED:
        raise GrammarError(f"grammar: it defines more than {MAX_DEFINED} rules and lexemes; make it simpler")
    return "".join([*parts, grammar[done:]])


def write(rules: Mapping[str, Node], n_vocab: int, end_ids: Iterable[int]) -> str:
    """Return the grammar in llguidance's Lark; the rule "root" is its start.

    Parameters
    ----------
    rules : mapping of str to Node
        The rules by name; every name that a rule refers to must be present.
    n_vocab : int
        Number of token ids of the model.
    end_ids : iterable of int
        End tokens, which a negated token does not include.

    Raises
    ------
    GrammarError
        There are too many rules, or a token id does not exist.
    """
    return _Writer(rules, n_vocab, end_ids).text()


class _Writer:
    def __init__(self, rules: Mapping[str, Node], n_vocab: int, end_ids: Iterable[int]) -> None:
        self._names = {name: "start" if name == "root" else f"rule_{i}" for i, name in enumerate(rules)}
        self._todo = [(self._names[name], node) for name, node in rules.items()]
        self._n_rules = len(rules)
        self._n_vocab = n_vocab
        self._end_ids = frozenset(end_ids)
        self._lexemes: dict[str, str] = {}

    def text(self) -> str:
        lines = []
        while self._todo:
            if self._n_rules > MAX_RULES:
                raise GrammarError(f"the grammar has more than {MAX_RULES} rules and groups; make it simpler")
            name, node = self._todo.pop()
            lines.append(f"{name}: {self._options(node)}")
        lines += [f"{name}: /{regex}/" for regex, name in self._lexemes.items()]
        return "\n".join(lines) + "\n"

    def _options(self, node: Node) -> str:
        options = node.options if isinstance(node, Choice) else (node,)
        return " | ".join(map(self._items, options))

    def _items(self, node: Node) -> str:
        items = node.items if isinstance(node, Sequence) else (node,)
        return " ".join(map(self._item, items)) or '""'

    def _item(self, node: Node) -> str:
        if isinstance(node, Repeat):
            if node.high == 0:
                return '""'
            low, high = node.low, "" if node.high is None else node.high
            return f"{self._item(node.item) if _is_plain(node.item) else self._rule(node.item)}{{{low},{high}}}"
        if isinstance(node, Run):
            return self._lexeme(f"{_regex(node.chars)}+")
        if isinstance(node, Chars):
            return self._lexeme(_regex(node))
        if isinstance(node, Ref):
            return self._names[node.name]
        return self._token(node) if isinstance(node, Token) else self._rule(node)

    def _lexeme(self, regex: str) -> str:
        return self._lexemes.setdefault(regex, f"LEXEME_{len(self._lexemes)}")

    def _rule(self, node: Node) -> str:
        """Make a rule for a group: llguidance accepts only about thirty nested parentheses."""
        name = f"group_{self._n_rules}"
        self._n_rules += 1
        self._todo.append((name, node))
        return name

    def _token(self, token: Token) -> str:
        if token.id >= self._n_vocab:
            raise GrammarError(f"grammar: token <[{token.id}]> does not exist, ids go up to {self._n_vocab - 1}")
        if token.negated:
            return f"<[^{','.join(map(str, sorted({token.id} | self._end_ids)))}]>"
        return f"<[{token.id}]>"


def _is_plain(node: Node) -> bool:
    return isinstance(node, (Chars, Ref, Run, Token))


def _regex(chars: Chars) -> str:
    ranges = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in chars.ranges)
    return f"[{'^' if chars.negated else ''}{ranges}]"
