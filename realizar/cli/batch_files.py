"""The files of `realizar batch`: lines of requests, and lines of results, which a second run continues.

Both have the form of OpenAI's Batch API.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from realizar.errors import RealizarError
from realizar.store.cache import try_lock

URLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
_BEGINNING = b'{"id":"batch_req_'
_STRAY = 4096
"""Bytes of a line besides its body."""


@dataclass(frozen=True)
class Request:
    """A line of the input that can be answered."""

    custom_id: str
    url: str
    body: bytes


@dataclass(frozen=True)
class InvalidLine:
    """A line of the input that cannot be answered.

    Attributes
    ----------
    n : int
        Its number, from 1.
    code, message : str
    custom_id : str or None
    param : str or None
        The key that is wrong.
    """

    n: int
    code: str
    message: str
    custom_id: str | None = None
    param: str | None = None


class InvalidLineError(Exception):
    """Why a line cannot be answered: code, message, and the key that is wrong."""

    def __init__(self, code: str, message: str, param: str | None = None, custom_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.custom_id = custom_id


def read_requests(stream: BinaryIO, max_body: int) -> Iterator[Request | InvalidLine]:
    """Yield the requests of an input, and the lines that are none, and close it; empty lines are left out.

    Parameters
    ----------
    stream : binary file
        Lines of JSON in UTF-8.
    max_body : int
        Most bytes of a body; longer lines are read to their end without keeping them.
    """
    seen: dict[str, int] = {}
    with stream:
        for n, line in _lines(stream, max_body + _STRAY):
            try:
                if line is None:
                    text = f"a body has at most {max_body} bytes; see REALIZAR_MAX_BODY"
                    raise InvalidLineError("line_too_long", text)
                request = _request(line)
                first = seen.setdefault(request.custom_id, n)
                if first != n:
                    text = f"custom_id {request.custom_id[:200]!r} is that of line {first}, too"
                    raise InvalidLineError("duplicate_custom_id", text, "custom_id", request.custom_id)
            except InvalidLineError as error:
                yield InvalidLine(n, error.code, f"line {n}: {error}", error.custom_id, error.param)
            else:
                yield request


def _lines(stream: BinaryIO, most: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield lines that are not empty, with their numbers from 1; None in place of one of more than `most` bytes."""
    for n in count(1):
        line = stream.readline(most + 1)
        if not line:
            return
        if len(line) > most:
            while line and not line.endswith(b"\n"):
                line = stream.readline(most)
            yield n, None
        elif text := line.removeprefix(BOM_UTF8 if n == 1 else b"").strip():
            yield n, text


def _request(line: bytes) -> Request:
    try:
        found = json.loads(line.decode())  # bytes might be taken for UTF-16
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, too long a number, too deep
        raise InvalidLineError("invalid_json_line", f"is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidLineError("invalid_request", "must be a JSON object")
    custom_id = found.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise InvalidLineError("missing_required_parameter", "custom_id: must be a text", "custom_id")

    def invalid(code: str, param: str, text: str) -> InvalidLineError:
        return InvalidLineError(code, f"{param}: {text}", param, custom_id)

    if found.get("method") != "POST":
        raise invalid("invalid_method", "method", 'must be "POST"')
    url, body = found.get("url"), found.get("body")
    if url not in URLS:
        raise invalid("invalid_url", "url", f"must be one of {', '.join(URLS)}")
    if not isinstance(body, dict):
        raise invalid("missing_required_parameter", "body", "must be a JSON object")
    if body.get("stream"):
        raise invalid("invalid_value", "body.stream", "the results of a batch are not streamed")
    return Request(custom_id, url, json.dumps(body).encode())


def n_lines(path: Path) -> int | None:
    """Return the number of lines of a file; None of what can be read only once."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return sum(piece.count(b"\n") for piece in iter(lambda: stream.read(1 << 20), b""))


class Results:
    """The results in a file, those of earlier runs among them.

    Parameters
    ----------
    stream : binary file
        What results are appended to.
    earlier : dict
        Of each result that the file has: its custom_id, or the number of an invalid line -> whether it is a success.
    """

    def __init__(self, stream: BinaryIO, earlier: dict[str | int, bool]) -> None:
        self._stream = stream
        self._earlier = earlier

    def earlier(self, line: Request | InvalidLine) -> bool | None:
        """Return whether the result of an earlier run was a success; None if there is none."""
        return self._earlier.get(line.custom_id if isinstance(line, Request) else line.n)

    def add(self, custom_id: str, status: int, request_id: str, body: Any) -> None:
        """Write the response to a request. Raises OSError."""
        self._write(custom_id, {"status_code": status, "request_id": request_id, "body": body}, None)

    def add_invalid(self, line: InvalidLine) -> None:
        """Write why a line was not answered. Raises OSError."""
        error = {"code": line.code, "message": line.message, "param": line.param, "line": line.n}
        self._write(line.custom_id, None, error)

    def _write(self, custom_id: str | None, response: dict[str, Any] | None, error: dict[str, Any] | None) -> None:
        row = {"id": f"batch_req_{uuid4().hex}", "custom_id": custom_id, "response": response, "error": error}
        self._stream.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        self._stream.flush()


@contextmanager
def open_results(name: str) -> Iterator[Results]:
    """Open a file of results to continue it, or standard output for `-`.

    Raises
    ------
    RealizarError
        If it cannot be written, has lines that are no results, or another process writes to it.
    """
    if name == "-":
        yield Results(sys.stdout.buffer, {})
        return
    path = Path(name)
    try:
        stream = path.open("ab+")
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        raise RealizarError(f"{name}: cannot be written: {error}") from None
    with stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # such as a pipe
            yield Results(stream, {})
            return
        if not try_lock(stream):
            raise RealizarError(f"{name}: another process writes to it; wait for its end, or choose another file")
        yield Results(stream, _read_results(name, stream))


def _read_results(name: str, stream: BinaryIO) -> dict[str | int, bool]:
    """Return the results of a file; an incomplete last line, of a process that was killed, is removed."""
    earlier: dict[str | int, bool] = {}
    stream.seek(0)
    for n, line in enumerate(stream, 1):
        found = _result(line)
        if found is not None:
            earlier.update([found])
            if not line.endswith(b"\n"):
                stream.write(b"\n")
        elif not line.endswith(b"\n") and (line.startswith(_BEGINNING) or _BEGINNING.startswith(line)):
            stream.truncate(stream.tell() - len(line))
        else:
            raise RealizarError(f"{name}: line {n} is no result of a batch; choose a new file, or remove the line")
    return earlier


def _result(line: bytes) -> tuple[str | int, bool] | None:
    """Return the key of a result, and whether it is a success; None if the line is no result."""
    try:
        row = json.loads(line)
        error, response = row["error"], row["response"]
        if error is not None:
            return (row["custom_id"] if error.get("line") is None else error["line"]), False
        return row["custom_id"], response["status_code"] == 200
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
