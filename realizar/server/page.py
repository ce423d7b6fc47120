"""GET /: the chat page, and under /web/ what it loads. All of it is read once, before the server listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

_TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
"""Suffix -> content type; those of the operating system may be others."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
"""What the page may do: load and call this server, and make HTML of text by DOMPurify only."""
_PAGE = "index.html"
_HASHED = {".js", ".css", ".svg", ".woff2"}
"""Suffixes of files whose names have a hash of their content, so that browsers may keep them for ever."""


@dataclass(frozen=True)
class PageFile:
    """A file of the build, as it is sent."""

    body: bytes
    headers: dict[str, str]


@cache
def page_files() -> dict[str, PageFile]:
    """Return the files of the build by their paths. Only these are ever sent: no request names a file of the disk."""
    return dict(_built())


def _built() -> Iterator[tuple[str, PageFile]]:
    for file in (files("realizar.server") / "web" / "dist").iterdir():
        body, suffix = file.read_bytes(), PurePath(file.name).suffix
        headers = {
            "Content-Type": _TYPES[suffix],
            "Cache-Control": "public, max-age=31536000, immutable" if suffix in _HASHED else "no-cache",
            "ETag": f'"{sha256(body).hexdigest()[:32]}"',
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        yield "/" if file.name == _PAGE else f"/web/{file.name}", PageFile(body, headers)


router = APIRouter()


@router.api_route("/", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
@router.api_route("/web/{name}", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the page, or a file of it."""
    found = page_files().get(request.scope["path"])
    if found is None:
        raise HTTPException(404, "the page has no such file")
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers={k: v for k, v in found.headers.items() if k != "Content-Type"})
    return Response(found.body, headers=found.headers)
