"""The exception classes of realizar; messages say what was requested, what was found and what to do."""

from collections.abc import Callable, Iterable


def short_repr(value: object) -> str:
    """Return the repr of a value for an error message: on one line, truncated to 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        text = f"<{type(value).__name__} nested too deeply to be shown>"
    except Exception:  # a user's object may raise anything
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def describe_exception(error: BaseException) -> str:
    """Return the type and message of an exception on one line, truncated to 200 characters."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a user's exception may raise anything
        text = ""
    text = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" with the known names that are most like a name, or "" if none is."""
    from difflib import get_close_matches

    by_lower = {one.lower(): one for one in known}
    wanted = name.lower()
    close = get_close_matches(wanted, by_lower, 3, 0.7)
    if not close and len(wanted) >= 3:
        close = [one for one in by_lower if wanted in one][:3]
    return f"; did you mean {' or '.join(by_lower[one] for one in close)}?" if close else ""


class RealizarError(Exception):
    """Base class of all errors of realizar."""


class GGUFError(RealizarError):
    """A file is not a GGUF file, is damaged, or is truncated."""


class UnknownArchitectureError(RealizarError):
    """No plugin provides the architecture named in a file."""


class TensorError(RealizarError):
    """A tensor is missing, or its shape or type does not match the architecture's declaration."""


class PluginError(RealizarError):
    """A plugin cannot be loaded, two plugins register the same name, or a plugin's op or backend fails."""


class GraphError(RealizarError):
    """An architecture's graph is invalid or cannot be computed (shapes, unknown names, heads too large)."""


class TokenizerError(RealizarError):
    """A file's vocabulary is unusable, or a token id does not exist."""


class TemplateError(RealizarError):
    """A chat template is missing, fails, or exceeds its limits."""


class ParameterError(RealizarError, ValueError):
    """A parameter has an invalid value."""


class AdapterError(ParameterError):
    """A LoRA adapter or a control vector is not loaded, cannot be used, or does not fit the model."""


class PictureError(ParameterError):
    """A picture cannot be read, exceeds a limit, or the model reads none."""


class SoundError(ParameterError):
    """A sound cannot be read, exceeds a limit, or the model hears none."""


class UnsupportedError(ParameterError):
    """An option of another library that realizar does not have (realizar.compat)."""


class RequestError(RealizarError):
    """User code of one request failed, for example a custom sampler; `__cause__` is the original exception."""


class ReentryError(RealizarError):
    """Code that runs inside an engine step (a sampler or a finalizer) requested another step."""


class OutOfMemoryError(RealizarError, MemoryError):
    """Memory allocation failed: a limit of the process, its cgroup, or the machine."""


class DeviceError(RealizarError):
    """A GPU cannot be opened, was lost, or refuses what a backend asks of it."""


class DeviceMemoryError(DeviceError, ParameterError):
    """A GPU has not enough memory for what a model needs."""


class GrammarError(RealizarError):
    """A grammar, schema, regex or choice cannot be enforced, or takes too long to evaluate."""


class ContextFullError(RealizarError, ValueError):
    """A prompt or request does not fit into the context.

    Attributes
    ----------
    n_tokens, n_ctx : int or None
        Tokens of the prompt, and of the context, if the prompt alone is too long.
    """

    def __init__(self, text: str, n_tokens: int | None = None, n_ctx: int | None = None) -> None:
        super().__init__(text)
        self.n_tokens = n_tokens
        self.n_ctx = n_ctx


class CacheFullError(RealizarError):
    """Every block of the cache is held. The scheduler preempts a request then, so no user meets this."""


class CacheFileError(RealizarError):
    """A file with a saved KV cache is damaged, cannot be read or written, or does not fit the model or its params."""


class BusyError(RealizarError):
    """As many requests wait as may (`max_waiting`)."""


class ModelNotFoundError(RealizarError):
    """A model name is unknown, or a path does not exist."""


class MissingExtraError(RealizarError, ImportError):
    """A module needs an optional dependency that is not installed; the message names the extra."""


class DownloadError(RealizarError):
    """A download failed or its hash is wrong."""


class ModelFileWarning(UserWarning):
    """A model file contains an invalid value that is ignored."""


class memory_for:
    """Convert a MemoryError to an OutOfMemoryError that says what the memory was for and how much was requested."""

    def __init__(self, what: str, asked: Callable[[], str]) -> None:
        self._what = what
        self._short = f"{what}: out of memory"
        self._asked = asked

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, MemoryError) and not isinstance(error, OutOfMemoryError):
            try:
                found = f" ({error})" if str(error) else ""
                message = f"{self._what}: out of memory{found}; {self._asked()}"
            except MemoryError:  # not even for this text
                error.__traceback__ = None  # frees what the failed frames hold
                message = self._short
            raise OutOfMemoryError(message) from error
