"""Fetches remote pictures and sounds, with limits on addresses, bytes and time."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urljoin, urlsplit

from realizar.errors import describe_exception, short_repr
from realizar.pictures.deadline import Deadline
from realizar.pictures.kind import MAX_BYTES, PICTURE, MediaKind

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO

MAX_SECONDS = 20.0
"""Most seconds in which a remote file must arrive."""
MAX_REDIRECTS = 3
CHUNK = 1 << 16


def fetch(url: str, allow_urls: bool | Sequence[str], kind: MediaKind = PICTURE) -> bytes:
    """Return the body of a response; every address that it redirects to must be allowed, too.

    Raises
    ------
    PictureError, SoundError
        As the kind says: if it is not allowed, does not answer, or sends too much or too slowly.
    """
    with Deadline(MAX_SECONDS) as deadline:
        opener = urllib.request.build_opener(_NoRedirects, *deadline.handlers())
        for _ in range(MAX_REDIRECTS + 1):
            _check_allowed(url, allow_urls, kind)
            try:
                with opener.open(url, timeout=max(0.001, deadline.remaining)) as response:
                    data = _body(response, url, kind)
                _check_time(deadline, url, kind)  # what was shut down looks as if it had ended
                return data
            except _RedirectedError as redirected:
                url = urljoin(url, redirected.location)
            except kind.error:
                raise
            except Exception as error:  # http.client raises its own for malformed responses
                _check_time(deadline, url, kind)
                raise kind.error(
                    f"the {kind.noun} at {short_repr(url)} cannot be read: {describe_exception(error)}"
                ) from None
    raise kind.error(f"the {kind.noun} at {short_repr(url)} cannot be read: more than {MAX_REDIRECTS} redirects")


def _body(response: Any, url: str, kind: MediaKind) -> bytes:
    data = bytearray()
    while chunk := response.read1(CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise kind.error(f"the {kind.noun} at {short_repr(url)} has more than {MAX_BYTES} bytes")
    return bytes(data)


def _check_time(deadline: Deadline, url: str, kind: MediaKind) -> None:
    if not deadline.remaining:
        raise kind.error(f"the {kind.noun} at {short_repr(url)} did not arrive within {MAX_SECONDS:g} s")


def _check_allowed(url: str, allow_urls: bool | Sequence[str], kind: MediaKind) -> None:
    """Raise the error of its kind if a remote address must not be read."""
    try:
        parts = urlsplit(url)
        has_host = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        has_host = False
    if not has_host:
        raise kind.error(f"{short_repr(url)} is no http or https URL of a {kind.noun}")
    allowed = allow_urls if isinstance(allow_urls, bool) else any(_begins_with(url, one) for one in allow_urls)
    if not allowed:
        raise kind.error(
            f"{short_repr(url)}: this model reads no remote {kind.noun}s from there; send the {kind.noun} as a data "
            "URL, or allow it: allow_urls=True, or a list of what allowed URLs begin with"
        )


def _begins_with(url: str, allowed: str) -> bool:
    """Whether a URL begins with an allowed one, is of the same host and port, and does not leave its folder by ".."."""
    ours, theirs = urlsplit(url), urlsplit(allowed)
    names = re.split(r"[/\\]", unquote(ours.path))
    return url.startswith(allowed) and theirs.netloc in ("", ours.netloc) and ".." not in names


class _RedirectedError(Exception):
    """A response that names another address."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hands redirects to `fetch`, which checks their addresses."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> NoReturn:
        """Raise the new address."""
        raise _RedirectedError(newurl)
