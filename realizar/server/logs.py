"""The server's log: text or JSON lines, each with the id of its request."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from realizar.server.middleware import request_id

if TYPE_CHECKING:
    from realizar.server.settings import Settings


class JSONFormatter(logging.Formatter):
    """Formats each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line["message"] = record.getMessage()
        if own := request_id.get():
            line["request_id"] = own
        line |= getattr(record, "access", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or with a traceback the lines."""
        own = request_id.get()
        return super().format(record) + (f" [{own}]" if own else "")


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a record is not of a cancelled request (at the second signal), which uvicorn reports as a fault."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def set_up_logs(settings: Settings) -> None:
    """Write the logs of the server and of uvicorn, and warnings, to standard error."""
    text = TextFormatter("%(asctime)s %(levelname)s %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if settings.log_format == "json" else text)
    handler.addFilter(_is_no_cancellation)
    logging.captureWarnings(True)
    for name in ("realizar", "uvicorn", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(settings.log_level.upper())
    # Its messages say what ours do, but for warnings.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger("realizar").level))
