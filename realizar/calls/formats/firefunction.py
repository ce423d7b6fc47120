"""Firefunction v2: a list of calls after "functools"; the template gets the tools as JSON text."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from realizar.calls.chat_format import ChatFormat
from realizar.calls.notation import JsonNotation


def _variables(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return {"functions": json.dumps(tools, indent=4, ensure_ascii=False), "datetime": now}


FORMAT = ChatFormat(
    "firefunction",
    contains=("functools[", "functions"),
    arguments=JsonNotation(),
    marker="functools",
    variables=_variables,
)
