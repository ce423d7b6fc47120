"""Every error that realizar raises on purpose; each says what was asked, what was found and what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def shown(value: object) -> str:
    """Return a value as an error shows it: as Python writes it, on one line, cut where it goes on for long."""
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        text = f"<{type(value).__name__} nested too deeply to be shown>"
    except Exception:  # an object of a user's
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def told(error: BaseException) -> str:
    """Return the type and the message of an exception on one line, cut where it goes on for long."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of a user's
        text = ""
    text = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class RealizarError(Exception):
    """Base of all errors that a user can meet."""


class GGUFError(RealizarError):
    """A file is no GGUF file, is damaged, or ends too early."""


class UnknownArchitectureError(RealizarError):
    """No plugin declares the architecture that a file names."""


class TensorError(RealizarError):
    """A tensor is missing, or its shape or type is not what the architecture declares."""


class PluginError(RealizarError):
    """A plugin cannot be loaded, two plugins claim one name, or the definition of an op that one brings fails."""


class GraphError(RealizarError):
    """An architecture recorded a graph that cannot be right or computed (shapes, unknown names, heads too large)."""


class TokenizerError(RealizarError):
    """The vocabulary of a file cannot be used, or a token id does not exist."""


class TemplateError(RealizarError):
    """A chat template is missing, fails, or runs out of its bounds."""


class ParameterError(RealizarError, ValueError):
    """A parameter has a value that makes no sense."""


class RequestError(RealizarError):
    """What belongs to one request alone failed: its sampler, say, or its function; `__cause__` is what that raised."""


class ReentryError(RealizarError):
    """A step was asked for by what runs inside a step: a sampler, or a finalizer that was called there."""


class OutOfMemoryError(RealizarError, MemoryError):
    """The system gave no more memory: a limit of the process or of its group, or of the machine."""


class GrammarError(RealizarError):
    """A grammar, schema, regex or choice cannot be enforced, or took too long to follow."""


class ContextFullError(RealizarError):
    """A prompt or a request does not fit into the context."""


class CacheFullError(RealizarError):
    """Every block of the cache is held. The scheduler preempts a request then, so no user meets this."""


class BusyError(RealizarError):
    """As many requests wait as may (`max_waiting`)."""


class ModelNotFoundError(RealizarError):
    """A model name or path leads nowhere."""


class DownloadError(RealizarError):
    """A download failed or its hash is wrong."""


class ModelFileWarning(UserWarning):
    """A model file says something that cannot be, and is loaded as if it had not said it."""


@contextmanager
def memory_for(what: str, asked: Callable[[], str]) -> Iterator[None]:
    """Turn a MemoryError into one that says what memory was needed for, and how much was asked."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        found = f" ({error})" if str(error) else ""
        raise OutOfMemoryError(f"{what}: there is no more memory{found}; {asked()}") from error
