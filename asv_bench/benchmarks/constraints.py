"""Time of token masks of constraints over Qwen's 151 936 tokens, for every position of some texts."""

import time

import numpy as np

from benchmarks.common import real_model
from realizar.gguf import GGUFFile
from realizar.sampling.grammar import ConstraintFactory
from realizar.tokenizer import Tokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "born": {"type": "string", "format": "date"},
        "mail": {"type": "string", "format": "email"},
        "height": {"type": "number", "minimum": 0.4, "maximum": 2.6},
        "languages": {"type": "array", "items": {"enum": ["English", "Polish", "Japanese"]}, "minItems": 1},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "born", "height", "languages"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "within": {"$ref": "#/$defs/place"}, "note": {"type": "string"}},
            "required": ["city"],
        }
    },
}
PERSON_TEXT = (
    '{"name": "Zoë O\'Neill", "born": "1987-02-28", "mail": "zoe.oneill@example.org", "height": 1.74,\n "languages": '
    '["English", "Japanese"], "home": {"city": "Kraków", "within": {"city": "Poland", "note": "said \\"here\\", once"},'
    ' "more": [1, -2.5e3, null, {"any": true}]}}'
)
CALL = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"name": {"const": f"tool_{i}"}, "arguments": {"type": "object", "properties": {
                f"argument_{j}": {"type": ["string", "integer", "null"]} for j in range(8)}}},
            "required": ["name", "arguments"],
        }
        for i in range(20)
    ]
}  # fmt: skip
CALL_TEXT = '{"name": "tool_17", "arguments": {"argument_0": "search for this and that", "argument_3": 12}}'
PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. (Naïve, isn't it?)\n" * 2
# GBNF grammars similar to llama.cpp's examples: JSON, an expression language, prose.
JSON_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,15})? ws
ws     ::= [ \t\n]{0,20}
"""
PROGRAM_GBNF = r"""
root      ::= (statement "\n")+
statement ::= name " = " sum | "if " sum ":" ("\n    " statement)+ | "print(" sum ")"
sum       ::= product ((" + " | " - ") product)*
product   ::= factor ((" * " | " / ") factor)*
factor    ::= name | number | "(" sum ")" | "\"" [^"\n]* "\""
name      ::= [a-zA-Z_] [a-zA-Z_0-9]*
number    ::= [0-9]+ ("." [0-9]+)?
"""
PROGRAM_TEXT = 'total = 0\nif total + 3:\n    total = (total + first_value) * 2.5\nprint(total / "some text" - x1)\n'
CASES = {
    "json_schema": [
        ("json_schema", PERSON, PERSON_TEXT),
        ("json_schema", CALL, CALL_TEXT),
        ("json_schema", {"type": "object"}, PERSON_TEXT),
    ],
    "regex": [
        ("regex", r"(?s).*", PROSE),
        ("regex", r"([A-Z][^.!?]*[.!?].*\n)+", PROSE),
        ("regex", r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?", "2026-11-23T04:10:59.25Z"),
        ("regex", r"([\w.+-]+@[\w-]+(\.[\w-]+)+(, )?)+", "a.b@example.org, c+d@mail.example.com"),
        ("regex", r"\+?[0-9]{1,3}([ -][0-9]{2,4}){2,4}", "+49 30 1234 5678"),
        (
            "regex",
            r"https?://[a-z0-9.-]+(/[a-zA-Z0-9._~%-]*)*(\?[^ #]*)?",
            "https://docs.example.org/a/long_path?x=1&y=2",
        ),
        (
            "regex",
            r"(yes|no|unsure): [A-Za-z ,']{1,200}\.",
            "unsure: the text says nothing about it, and I can't tell.",
        ),
        ("regex", r"(- [^\n]+\n)+", "- the first item, with (more) words\n- the second: shorter\n- 3rd\n"),
        ("regex", r"#[0-9a-f]{6}(, #[0-9a-f]{6})*", "#a0b1c2, #ffffff, #00ff00"),
        (
            "regex",
            r"def \w+\((\w+(: \w+)?(, )?)*\)( -> \w+)?:\n(    .*\n)+",
            "def f(x: int, y) -> int:\n    z = x + y\n    return z\n",
        ),
    ],
    "gbnf": [
        ("grammar", JSON_GBNF, PERSON_TEXT),
        ("grammar", PROGRAM_GBNF, PROGRAM_TEXT),
        ("grammar", r'root ::= ([^\n]+ "\n")+', PROSE),
    ],
}


def milliseconds(factory, tokenizer, kind, what, text):
    """Return the milliseconds of the mask computation after each token of a text."""
    matcher = getattr(factory, kind)(what)._compiled.matcher.deep_copy()
    took = []
    for token in tokenizer.encode(text, add_special=False):
        begin = time.perf_counter()
        matcher.compute_bitmask()
        took.append(1e3 * (time.perf_counter() - begin))
        if not matcher.consume_token(token):
            raise ValueError(f"{kind}: {tokenizer.decode([token])!r} is rejected in {text!r}: {matcher.get_error()}")
    return took


class Masks:
    params = tuple(CASES)
    param_names = ("constraint",)
    unit = "ms"

    def setup(self, kind):
        with GGUFFile(real_model("qwen2.5-coder-0.5b")) as file:
            tokenizer = Tokenizer.from_gguf(file.metadata)
            factory = ConstraintFactory(tokenizer)
            self.took = [ms for case in CASES[kind] for ms in milliseconds(factory, tokenizer, *case)]

    def track_p99(self, kind):
        return float(np.percentile(self.took, 99))

    def track_median(self, kind):
        return float(np.median(self.took))
