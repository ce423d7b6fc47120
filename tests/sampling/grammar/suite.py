"""The JSON Schema Test Suite, draft 2020-12: every schema is enforced or rejected; prints docs/constraints.md's table.

python -m tests.sampling.grammar.suite FOLDER

The suite comes with the source distribution of the package jsonschema, which is fetched into FOLDER if it is not there.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

from realizar.errors import GrammarError
from tests.sampling.grammar.texts import END, FACTORY, TOKENS, accepts, allowed

SOURCE = "jsonschema-4.26.0"
DRAFT = f"{SOURCE}/json/tests/draft2020-12"
N_WALKS = 4


def fetch(folder: Path) -> dict[str, list]:
    """Return the cases of each file of the draft; OSError or SubprocessError if they cannot be downloaded."""
    archive = folder / f"{SOURCE}.tar.gz"
    if not archive.is_file():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:all:", "--quiet", "--no-input"]
        subprocess.run([*command, "-d", str(folder), SOURCE.replace("-", "==")], check=True, timeout=120)
    with tarfile.open(archive) as tar:
        names = sorted(name for name in tar.getnames() if Path(name).match(f"{DRAFT}/*.json"))
        return {Path(name).stem: json.load(tar.extractfile(name)) for name in names}


def verdicts(draft: dict[str, list], seed: int = 0) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return the numbers of enforced and rejected schemas of each file, and the errors found."""
    counts, wrong = {}, []
    for name, cases in draft.items():
        found = counts[name] = Counter()
        for case in cases:
            try:
                constraint = FACTORY.json_schema(json.dumps(case["schema"]))
            except GrammarError as error:
                found["refused"] += 1
                if not str(error).startswith("json_schema"):
                    wrong.append(f"{name}, {case['description']}: refused without a name: {error}")
                continue
            found["enforced"] += 1
            wrong += [f"{name}, {case['description']}: {text}" for text in _mistakes(constraint, case, seed)]
    return counts, wrong


def _mistakes(constraint, case, seed: int) -> list[str]:
    """Return texts that a constraint allows although its schema forbids them."""
    import jsonschema
    from referencing import Registry

    texts = [_walk(constraint.reset_copy(), random.Random(f"{seed} {i}")) for i in range(N_WALKS)]
    validator = jsonschema.Draft202012Validator(case["schema"], registry=Registry())
    mistakes = [text for text in texts if text is not None and not validator.is_valid(json.loads(text))]
    for test in case["tests"]:
        if not test["valid"]:
            written = {json.dumps(test["data"]), json.dumps(test["data"], separators=(",", ":"))}
            mistakes += [text for text in written if accepts(constraint.reset_copy(), text)]
    return mistakes


def _walk(constraint, rng: random.Random, most: int = 120) -> str | None:
    """Return a random text of allowed tokens, with a preference for closing brackets; None if too long."""
    text = b""
    for n in range(3 * most):
        ids = allowed(constraint)
        if END in ids and (n > most or ids == {END} or rng.random() < 0.3):
            return text.decode()
        ids = sorted(ids - {END})
        closing = [i for i in ids if TOKENS[i] in (b"}", b"]", b'"')]
        plain = [i for i in ids if TOKENS[i].isalnum() or TOKENS[i] in (b"-", b"{", b"[", b",", b":", b".")]
        among = closing if closing and (n > most or rng.random() < 0.4) else plain if rng.random() < 0.9 else ids
        token = rng.choice(among or ids)
        text += TOKENS[token]
        constraint.advance(token)
    return None


def table(counts: dict[str, Counter[str]]) -> list[str]:
    """Return the table of docs/constraints.md."""
    lines = ["| file of the suite | schemas | enforced | refused |", "|---|---:|---:|---:|"]
    total = sum(counts.values(), Counter())
    for name, found in [*counts.items(), ("all", total)]:
        lines.append(f"| {name} | {found.total()} | {found['enforced']} | {found['refused']} |")
    return lines


if __name__ == "__main__":
    counts, wrong = verdicts(fetch(Path(sys.argv[1])))
    print("\n".join([*table(counts), *wrong]))
