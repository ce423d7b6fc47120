"""Repeated characters as one lexeme, where that leaves the language of a grammar as it is.

A mask goes through all tokens of the vocabulary. A lexeme of one character costs the parser a step for each character
of each token, 5 ms in all at 152,000 tokens where a string may have any character; a lexeme of many has 0.1 ms.

llguidance's lexer is greedy and never goes back. So a repeated class X becomes one lexeme only if, wherever a character
of X may come by that repetition, it can come by nothing else: no other place of the grammar that is reached with the
same text takes a character of X (or one with the same first byte), and the repetition does not follow upon itself from
outside. Which places are reached with the same text is found in an automaton without a stack, which lets a rule return
to each of its callers: it reaches more than the grammar does, never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

from realizar.sampling.grammar.nodes import Chars, Choice, Node, Ref, Repeat, Run, Sequence, Token, choice

MAX_PLACES = 400
"""Characters and tokens of a grammar beyond which nothing is looked for: the work grows with their square."""
MAX_UNROLLED = 8
"""The greatest count of a repetition that is told apart from any number."""
MAX_PAIRS = 20_000
"""Pairs of places that are looked at: 0.1 s."""
MAX_NODES = 5_000
"""Nodes that are added to the automaton, where repetitions inside each other multiply, and options of rules opened."""

_END = 0x110000
_ASCII = 0x80
Place = Run | Chars | Token


def find(rules: Mapping[str, Node]) -> dict[str, Node]:
    """Return the rules with a Run in place of each class of characters that can be one lexeme where it is repeated."""
    marker = _Marker(rules)
    marked = {name: marker.marked(node) for name, node in rules.items()}
    kept = _Automaton(marked).separate() if next(marker.numbers) else frozenset()
    return {name: _resolved(node, kept) for name, node in marked.items()} if kept else dict(rules)


class _Marker:
    """Puts a Run in place of every class that might be one; `numbers` are those of the next runs."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = rules
        self._n_opened = 0
        self.numbers = count()

    def marked(self, node: Node, opens: bool = True) -> Node:
        """Return a node with its runs; `opens`: with a look into the rules that it names, where those are choices."""
        if isinstance(node, Repeat):
            if node.high is None and node.low <= 1:
                options, opened = self._options(node.item, opens)
                if any(isinstance(option, Chars) for option in options):
                    # What comes of a rule is not opened again: a rule may repeat itself.
                    runs = [
                        Run(o, next(self.numbers)) if isinstance(o, Chars) else self.marked(o, opens and not opened)
                        for o in _union(options)
                    ]
                    return Repeat(choice(runs), node.low, None)
            return Repeat(self.marked(node.item, opens), node.low, node.high)
        if isinstance(node, Sequence):
            return Sequence(tuple(self.marked(item, opens) for item in node.items))
        if isinstance(node, Choice):
            return Choice(tuple(self.marked(option, opens) for option in node.options))
        return node

    def _options(self, node: Node, opens: bool) -> tuple[list[Node], bool]:
        """Return what a node is a choice of, with rules that are nothing else opened, and whether there were any."""
        found: list[Node] = []
        todo, opened = [node], set[str]()
        while todo:
            option = todo.pop()
            if isinstance(option, Choice):
                todo += reversed(option.options)
            elif opens and isinstance(option, Ref) and self._is_choice(option.name):
                if option.name not in opened:
                    opened.add(option.name)
                    todo.append(self._rules[option.name])
            else:
                self._n_opened += bool(opened)
                found.append(option)
        return found, bool(opened)

    def _is_choice(self, name: str) -> bool:
        return self._n_opened < MAX_NODES and isinstance(self._rules[name], (Chars, Choice, Ref))


def _union(options: list[Node]) -> list[Node]:
    """Return options with their classes made one, unless one says which characters are not in it."""
    classes = [option for option in options if isinstance(option, Chars)]
    if len(classes) < 2 or any(chars.negated for chars in classes):
        return options
    ranges = tuple(dict.fromkeys(r for chars in classes for r in chars.ranges))
    return [Chars(ranges), *(option for option in options if not isinstance(option, Chars))]


def _resolved(node: Node, kept: frozenset[int]) -> Node:
    """Return a node with the runs that are not kept as single characters again."""
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
    """A state of the automaton: where it leads without a character, and by one, the place and the state behind it."""

    free: list[_State] = field(default_factory=list)
    place: Place | None = None
    then: _State | None = None


class _Automaton:
    """The grammar without a stack."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = {name: (_State(), _State()) for name in rules}
        self._places: list[_State] = []
        self._n_nodes = 0
        self._loops: dict[int, tuple[_State, _State]] = {}  # of each run's place: what leads back to it
        for name, node in rules.items():
            begin, end = self._rules[name]
            self._add(node, begin, end)

    def _add(self, node: Node, begin: _State, end: _State) -> None:
        """Add what leads from one state to another by a node."""
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
        """Add a repetition; one with larger counts as if it had none."""
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
        """Return the numbers of the runs whose characters can come by nothing else."""
        if len(self._places) > MAX_PLACES or self._n_nodes > MAX_NODES:
            return frozenset()
        begin = self._reached(self._rules["root"][0])
        behind = {id(state): self._reached(state.then) for state in self._places}
        shared = _shared(begin, behind)
        if shared is None:
            return frozenset()
        of_runs = [(state.place.number, state) for state in self._places if isinstance(state.place, Run)]
        bad = {number for number, state in of_runs if id(state) in shared or self._returns(state)}
        return frozenset(number for number, _ in of_runs) - bad

    def _returns(self, state: _State) -> bool:
        """Whether a run can come again at once by another way than its own repetition."""
        return state in self._reached(state.then, without=self._loops[id(state)])

    @staticmethod
    def _reached(begin: _State | None, without: tuple[_State, _State] | None = None) -> tuple[_State, ...]:
        """Return the states with a place that can come next, each once; one step may be left out."""
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


def _shared(begin: tuple[_State, ...], behind: Mapping[int, tuple[_State, ...]]) -> set[int] | None:
    """Return the places that a text may reach together with others which take the same; None where that takes long."""
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
                if not same and _is_near(p.place, q.place):
                    shared |= {id(p), id(q)}
                if same or _overlaps(p.place, q.place):
                    pair = behind[id(p)], behind[id(q)]
                    key = frozenset(map(_key, pair))
                    if key not in seen:
                        seen.add(key)
                        todo.append(pair)
    return shared


def _key(states: Iterable[_State]) -> frozenset[int]:
    return frozenset(map(id, states))


def _is_near(p: Place | None, q: Place | None) -> bool:
    """Whether two places take the same character, or characters that may begin with the same byte."""
    return _overlaps(p, q) or (_reaches(p, _ASCII) and _reaches(q, _ASCII))


def _overlaps(p: Place | None, q: Place | None) -> bool:
    """Whether two places may take the same; any other token than one may be text."""
    tokens = [place for place in (p, q) if isinstance(place, Token)]
    if tokens:
        return len(tokens) == 2 or tokens[0].negated
    return any(a <= d and c <= b for a, b in _ranges(p) for c, d in _ranges(q))


def _reaches(place: Place | None, least: int) -> bool:
    return not isinstance(place, Token) and any(high >= least for _, high in _ranges(place))


@lru_cache(4096)
def _ranges(place: Run | Chars | None) -> tuple[tuple[int, int], ...]:
    """Return the code points of a place, both ends of each range included."""
    chars = place.chars if isinstance(place, Run) else place
    if chars is None or not chars.negated:
        return () if chars is None else chars.ranges
    found, low = [], 0
    for begin, end in sorted(chars.ranges):
        if begin > low:
            found.append((low, begin - 1))
        low = max(low, end + 1)
    return (*found, (low, _END - 1)) if low < _END else tuple(found)
