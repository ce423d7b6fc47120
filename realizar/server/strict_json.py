"""Routes whose bodies are JSON as RFC 8259 has it: Python's parser alone also takes NaN, Infinity and 1e999."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class StrictRoute(APIRoute):
    """A route that refuses bodies with numbers that are not finite, which no response could repeat."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Return the body; raises JSONDecodeError."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = json.loads(body, parse_constant=_refuse, parse_float=_finite)
            except json.JSONDecodeError:
                raise
            except RecursionError:
                raise json.JSONDecodeError("too many levels of nested objects and lists", "", 0) from None
            except ValueError as error:  # bytes that are no text, an integer with too many digits
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> float:
    raise json.JSONDecodeError(f"numbers must be finite, found {text[:40]}", "", 0)
