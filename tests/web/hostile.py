"""Texts with which a model, or who wrote what it has read, could attack a page. All requests would go to evil.test."""

import re
from pathlib import Path

_FILE = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
_WRITTEN = re.split(r"^==== (.+)\n", _FILE, flags=re.MULTILINE)
TEXTS = {
    **{name: text.removesuffix("\n") for name, text in zip(_WRITTEN[1::2], _WRITTEN[2::2], strict=True)},
    "deep quotes": ">" * 5000 + " x",
    "deep lists": "\n".join("  " * i + "- x" for i in range(300)),
    "deep elements": "<b>" * 3000 + "x",
    "many brackets": "[" * 3000 + "](" * 3000,
    "many stars": "*a **b " * 1500,
    "bytes": "\x00\x01\u202e\ufeff\U0001f600 \u2028 \u200b",
}

NOT_ALLOWED = (
    "script, style, link, meta, base, iframe, object, embed, video, audio, img, picture, source, template, form form, "
    "input:not([type=checkbox])"
)
