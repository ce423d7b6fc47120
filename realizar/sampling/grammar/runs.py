"""Finds repeated character classes that can be one lexeme without changing the language of a grammar.

The computation of a mask tries all tokens of the vocabulary. With lexemes of one character, the parser takes a step for
each character of each token: 5 ms for 152,000 tokens if a string may contain any character. With one lexeme for the
whole run it takes 0.1 ms.

llguidance's lexer is greedy and never backtracks. So a repeated class X becomes one lexeme only if the repetition is
the only way to match a character of X wherever it may occur: no other place of the grammar that the same text can reach
matches a character of X (or one with the same first byte), and the repetition cannot directly follow itself. The places
that the same text can reach are found in a finite automaton without a stack, in which a rule returns to all of its
callers: it accepts a superset of the grammar, so the check is conservative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

from realizar.sampling.grammar.nodes import Chars, Choice, Node, Ref, Repeat, Run, Sequence, Token, choice

MAX_PLACES = 400
"""Grammars with more characters and tokens than this are not analyzed: the work grows with the square."""
MAX_UNROLLED = 8
"""Repetitions with a greater maximum are treated as unbounded."""
MAX_PAIRS = 20_000
"""Limit on compared pairs of places: 0.1 s."""
MAX_NODES = 5_000
"""Limit on nodes of the automaton, which nested repetitions multiply, and on inlined options of rules."""

_END = 0x110000
_ASCII = 0x80
Place = Run | Chars | Token


def find(rules: Mapping[str, Node]) -> dict[str, Node]:
    """Return the rules with a Run in place of each repeated character class that can be one lexeme."""
    marker = _Marker(rules)
    marked = {name: marker.marked(node) for name, node in rules.items()}
    kept = _Automaton(marked).separate() if next(marker.numbers) else frozenset()
    return {name: _resolved(node, kept) for name, node in marked.items()} if kept else dict(rules)


class _Marker:
    """Replaces every repeated class by a Run; `numbers` yields the numbers of the runs."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = rules
        self._n_inlined = 0
        self.numbers = count()

    def marked(self, node: Node, inlines: bool = True) -> Node:
        """Return a node with its runs; `inlines`: inline referenced rules that are only choices."""
        if isinstance(node, Repeat):
            if node.high is None and node.low <= 1:
                options, inlined = self._options(node.item, inlines)
                if any(isinstance(option, Chars) for option in options):
                    # The contents of an inlined rule are not inlined again, because rules may be recursive.
                    runs = [
                        Run(o, next(self.numbers)) if isinstance(o, Chars) else self.marked(o, inlines and not inlined)
                        for o in _union(options)
                    ]
                    return Repeat(choice(runs), node.low, None)
            return Repeat(self.marked(node.item, inlines), node.low, node.high)
        if isinstance(node, Sequence):
            return Sequence(tuple(self.marked(item, inlines) for item in node.items))
        if isinstance(node, Choice):
            return Choice(tuple(self.marked(option, inlines) for option in node.options))
        return node

    def _options(self, node: Node, inlines: bool) -> tuple[list[Node], bool]:
        """Return the options of a node, with rules that are only choices inlined, and whether any was inlined."""
        found: list[Node] = []
        todo, inlined = [node], set[str]()
        while todo:
            option = todo.pop()
            if isinstance(option, Choice):
                todo += reversed(option.options)
            elif inlines and isinstance(option, Ref) and self._is_choice(option.name):
                if option.name not in inlined:
                    inlined.add(option.name)
                    todo.append(self._rules[option.name])
            else:
                self._n_inlined += bool(inlined)
                found.append(option)
        return found, bool(inlined)

    def _is_choice(self, name: str) -> bool:
        return self._n_inlined < MAX_NODES and isinstance(self._rules[name], (Chars, Choice, Ref))


def _union(options: list[Node]) -> list[Node]:
    """Return options with their character classes merged, unless one is negated."""
    classes = [option for option in options if isinstance(option, Chars)]
    if len(classes) < 2 or any(chars.negated for chars in classes):
        return options
    ranges = tuple(dict.fromkeys(r for chars in classes for r in chars.ranges))
    return [Chars(ranges), *(option for option in options if not isinstance(option, Chars))]


def _resolved(node: Node, kept: frozenset[int]) -> Node:
    """Return a node in which runs that are not kept are single characters again."""
    if isinstance(node, Run):
        return node if node.number in kept else node.chars
    if isinstance(node, Repeat):
        return Repeat(_resolved(node.item, kept), node.low, node.high)
    if isinstance(node, Sequence):
        return Sequence(tuple(_resolved(item, kept) for item in node.items))
    if isinstance(node, Choice):
        return Choice(tuple(_resolved(option, kept) for option in node.options))
    return node


@dataclass(eq=False)
class _State:
    """A state of the automaton: the epsilon transitions, and a transition by a place (characters or a token)."""

    free: list[_State] = field(default_factory=list)
    place: Place | None = None
    then: _State | None = None


class _Automaton:
    """A finite automaton that accepts a superset of the grammar."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = {name: (_State(), _State()) for name in rules}
        self._places: list[_State] = []
        self._n_nodes = 0
        self._loops: dict[int, tuple[_State, _State]] = {}  # place of a run -> the transition that repeats it
        for name, node in rules.items():
            begin, end = self._rules[name]
            self._add(node, begin, end)

    def _add(self, node: Node, begin: _State, end: _State) -> None:
        """Add the transitions of a node from one state to another."""
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            return
        if isinstance(node, Sequence):
            for item in node.items:
                middle = _State()
                self._add(item, begin, middle)
                begin = middle
            begin.free.append(end)
        elif isinstance(node, Choice):
            for option in node.options:
                self._add(option, begin, end)
        elif isinstance(node, Repeat):
            self._add_repeat(node, begin, end)
        elif isinstance(node, Ref):
            there, back = self._rules[node.name]
            begin.free.append(there)
            back.free.append(end)
        elif len(self._places) <= MAX_PLACES:
            self._places.append(_State(place=node, then=end))
            begin.free.append(self._places[-1])

    def _add_repeat(self, node: Repeat, begin: _State, end: _State) -> None:
        """Add a repetition, unrolled if its counts are small, else as a loop."""
        if node.high is not None and node.high <= MAX_UNROLLED:
            for i in range(node.high):
                middle = _State()
                if i >= node.low:
                    begin.free.append(end)
                self._add(node.item, begin, middle)
                begin = middle
            begin.free.append(end)
            return
        head, tail = _State(), _State(free=[end])
        tail.free.append(head)
        begin.free += [head] if node.low else [head, end]
        for option in node.item.options if isinstance(node.item, Choice) else (node.item,):
            self._add(option, head, tail)
            if isinstance(option, Run):
                self._loops[id(self._places[-1])] = (tail, head)

    def separate(self) -> frozenset[int]:
        """Return the numbers of the runs whose characters nothing else can match."""
        if len(self._places) > MAX_PLACES or self._n_nodes > MAX_NODES:
            return frozenset()
        begin = self._reached(self._rules["root"][0])
        following = {id(state): self._reached(state.then) for state in self._places}
        shared = _shared(begin, following)
        if shared is None:
            return frozenset()
        of_runs = [(state.place.number, state) for state in self._places if isinstance(state.place, Run)]
        bad = {number for number, state in of_runs if id(state) in shared or self._returns(state)}
        return frozenset(number for number, _ in of_runs) - bad

    def _returns(self, state: _State) -> bool:
        """Whether a run can directly follow itself other than by its own repetition."""
        return state in self._reached(state.then, without=self._loops[id(state)])

    @staticmethod
    def _reached(begin: _State | None, without: tuple[_State, _State] | None = None) -> tuple[_State, ...]:
        """Return the states with a place that epsilon transitions reach, each once; `without` is not followed."""
        seen, todo, found = {id(begin)}, [] if begin is None else [begin], []
        while todo:
            state = todo.pop()
            if state.place is not None:
                found.append(state)
            for other in state.free:
                if id(other) not in seen and not (without and state is without[0] and other is without[1]):
                    seen.add(id(other))
                    todo.append(other)
        return tuple(found)


def _shared(begin: tuple[_State, ...], following: Mapping[int, tuple[_State, ...]]) -> set[int] | None:
    """Return the places for which another place, reached by the same text, matches the same; None if it takes long."""
    shared: set[int] = set()
    todo, seen, n = [(begin, begin)], set(), 0
    while todo:
        ours, theirs = todo.pop()
        n += len(ours) * len(theirs)
        if n > MAX_PAIRS:
            return None
        for p in ours:
            for q in theirs:
                same = p is q
                if not same and _may_collide(p.place, q.place):
                    shared |= {id(p), id(q)}
                if same or _overlaps(p.place, q.place):
                    pair = following[id(p)], following[id(q)]
                    key = frozenset(map(_key, pair))
                    if key not in seen:
                        seen.add(key)
                        todo.append(pair)
    return shared


def _key(states: Iterable[_State]) -> frozenset[int]:
    return frozenset(map(id, states))


def _may_collide(p: Place | None, q: Place | None) -> bool:
    """Whether two places match the same character, or characters that may begin with the same byte."""
    return _overlaps(p, q) or (_reaches(p, _ASCII) and _reaches(q, _ASCII))


def _overlaps(p: Place | None, q: Place | None) -> bool:
    """Whether two places may match the same; a negated token may match any text."""
    tokens = [place for place in (p, q) if isinstance(place, Token)]
    if tokens:
        return len(tokens) == 2 or tokens[0].negated
    return any(a <= d and c <= b for a, b in _ranges(p) for c, d in _ranges(q))


def _reaches(place: Place | None, least: int) -> bool:
    return not isinstance(place, Token) and any(high >= least for _, high in _ranges(place))


@lru_cache(4096)
def _ranges(place: Run | Chars | None) -> tuple[tuple[int, int], ...]:
    """Return the ranges of code points that a place matches, both ends included."""
    chars = place.chars if isinstance(place, Run) else place
    if chars is None or not chars.negated:
        return () if chars is None else chars.ranges
    found, low = [], 0
    for begin, end in sorted(chars.ranges):
        if begin > low:
            found.append((low, begin - 1))
        low = max(low, end + 1)
    return (*found, (low, _END - 1)) if low < _END else tuple(found)
