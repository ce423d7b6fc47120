"""Options shared by several commands."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from typer import Argument, BadParameter, Option

from realizar.cli.samplers import SAMPLERS, read_texts
from realizar.cli.text import read_file
from realizar.errors import ParameterError
from realizar.params import Activations, BackendName, EngineParams, KVType, SamplingParams, Speculation
from realizar.params.sampling import DEFAULTS
from realizar.store import DEFAULT_MODEL, MODELS, stored_models
from realizar.store.hub_names import PREFIX as HF_PREFIX

MODEL_HELP = "A name of 'realizar list', a .gguf file, or hf:owner/repo:Q4_K_M."


def model_names(incomplete: str) -> list[str]:
    """Return the names of models that begin like this, for shells to complete."""
    return [model.name for model in stored_models() if model.name.startswith(incomplete)]


Model = Annotated[str, Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=model_names)]
ModelOption = Annotated[
    str | None,
    Option(
        "-m", "--model", metavar="MODEL", help=MODEL_HELP, autocompletion=model_names, show_default=DEFAULT_MODEL
    ),
]  # fmt: skip
MODEL = DEFAULT_MODEL
Stats = Annotated[bool, Option("--stats", help="Print load time and tok/s to standard error at the end.")]
System = Annotated[str | None, Option("--system", help="The system message of the conversation.")]


def template_kwargs(text: str) -> dict[str, Any]:
    """Parse chat template variables from a JSON object."""
    try:
        variables = json.loads(text)
    except ValueError as error:
        raise BadParameter(f"{text!r} is not valid JSON: {error}") from None
    if not isinstance(variables, dict):
        raise BadParameter(f"{text!r} is not a JSON object")
    return variables


TemplateKwargs = Annotated[
    dict[str, Any] | None,
    Option(
        "--chat-template-kwargs",
        metavar="JSON",
        parser=template_kwargs,
        help="Variables of the chat template, such as '{\"enable_thinking\": false}'.",
    ),
]


def _sampling(kind: Any, *flags: str, help: str, **more: Any) -> Any:
    return Annotated[kind, Option(*flags, help=help, rich_help_panel="Sampling", **more)]


def _engine(kind: Any, *flags: str, help: str, **more: Any) -> Any:
    return Annotated[kind, Option(*flags, help=help, rich_help_panel="Engine", **more)]


def kv_type(text: str) -> str | tuple[str, ...]:
    """Parse one KV cache type, or the types of K and V as K/V."""
    return tuple(text.split("/")) if "/" in text else text


RoundedTo = _engine(
    Activations | None, "--activations", help="Type to which activations are rounded; f32 is slow.",
    show_default="int16 for small models, else int8",
)  # fmt: skip


def backend_name(name: str) -> str:
    """Check the name of a backend, ours or a plugin's."""
    if name not in get_args(BackendName):
        from realizar import backends

        with usage_errors():
            backends.maker(name)
    return name


def tensor_device(text: str) -> tuple[str, str]:
    """Parse PATTERN=DEVICE."""
    pattern, _, device = text.rpartition("=")
    if not pattern:
        raise BadParameter(f"{text!r} must be PATTERN=DEVICE, such as 'ffn_.*_exps=cpu'")
    return pattern, device


Backend = _engine(
    str, "--backend", help="What computes: the C kernels (cpu), numpy alone, which is slow, or a plugin's.",
    metavar="NAME", callback=lambda name: name if name is None else backend_name(name),
)  # fmt: skip
Device = _engine(
    str, "--device", help="Where: cpu; gpu or gpu:N of 'realizar devices'; gpu:0,gpu:1; or auto, the faster one.",
    metavar="DEVICE",
)  # fmt: skip
GPULayers = _engine(
    int | None, "-ngl", "--n-gpu-layers", help="Layers that GPUs compute, the last ones.", show_default="what fits"
)  # fmt: skip
CPUExperts = _engine(int, "--n-cpu-moe", help="Layers, from the first, whose experts stay on the CPU.")
TensorDevices = _engine(
    list[Any] | None, "-ot", "--tensor-device", parser=tensor_device, metavar="PATTERN=DEVICE",
    help="Where products with tensors of this pattern run, such as 'ffn_.*_exps=cpu'; may be repeated.",
)  # fmt: skip
Threads = _engine(int | None, "-t", "--threads", help="Worker threads.", show_default="physical cores")

CLI_DEFAULTS = {"temperature": 0.7, "top_p": 0.95, "min_p": 0.05}
"""Used if neither an option nor the model file sets them: small models lose coherence at temperature 1."""


def _with_file_default(kind: Any, name: str, help: str) -> tuple[Any, Any]:
    """Return the option of a field for which a model file may have a default."""
    default = f"the file's, else {CLI_DEFAULTS.get(name, DEFAULTS[name])}"
    return _sampling(kind | None, "--" + name.replace("_", "-"), help=help, show_default=default), None


# Field of SamplingParams -> option and default.
SAMPLING: dict[str, tuple[Any, Any]] = {
    "max_tokens": (_sampling(int, "-n", "--max-tokens", help="Maximum tokens to generate."), 512),
    "temperature": _with_file_default(float, "temperature", "0 is greedy."),
    "top_k": _with_file_default(int, "top_k", "Keep the k most probable tokens; 0 keeps all."),
    "top_p": _with_file_default(float, "top_p", "Keep the most probable tokens up to this total probability."),
    "min_p": _with_file_default(float, "min_p", "Keep tokens at least this fraction as probable as the best."),
    "repetition_penalty": _with_file_default(float, "repetition_penalty", "Divides logits of seen tokens."),
    "presence_penalty": (_sampling(float, "--presence-penalty", help="Subtracted once from seen tokens."), 0.0),
    "frequency_penalty": (_sampling(float, "--frequency-penalty", help="Subtracted each time seen."), 0.0),
    "seed": (_sampling(int | None, "--seed", help="Equal seeds, equal text.", show_default="a fresh one"), None),
    "grammar": (
        _sampling(str | None, "--grammar-file", help="GBNF grammar that the answer must match.", metavar="FILE"),
        None,
    ),
    "json_schema": (
        _sampling(str | None, "--json-schema", help="JSON schema that the answer must match.", metavar="JSON|FILE"),
        None,
    ),
    "regex": (_sampling(str | None, "--regex", help="Regular expression that the whole answer must match."), None),
    "cfg_scale": (_sampling(float, "--cfg-scale", help="Classifier-free guidance scale; 1 is off."), 1.0),
    "negative_prompt": (
        _sampling(str | None, "--negative-prompt", help="Negative prompt of --cfg-scale.", show_default="last token"),
        None,
    ),
    "max_time": (
        _sampling(float | None, "--max-time", help="Seconds after which the answer ends.", show_default="none"),
        None,
    ),
    "token_healing": (
        _sampling(bool, "--token-healing", help="Resample the prompt's last token (with --raw)."),
        False,
    ),
    "stop": (_sampling(list[str] | None, "--stop", help="A string that ends the text; may be repeated."), None),
    **SAMPLERS,
}
# Field of EngineParams -> option and default.
ENGINE: dict[str, tuple[Any, Any]] = {
    "n_threads": (Threads, None),
    "n_ctx": (_engine(int | None, "--n-ctx", help="Tokens of context.", show_default="model's, at most 4096"), None),
    "kv_type": (
        _engine(
            str,
            "--kv-type",
            help=f"Type of the KV cache: {', '.join(get_args(KVType))}; or of K and V, such as int8/q4.",
            metavar="TYPE[/TYPE]",
            parser=kv_type,
        ),
        "f16",
    ),
    "activations": (RoundedTo, None),
    "speculate": (
        _engine(
            Speculation | None,
            "--speculate",
            help="Speculative decoding by prompt lookup (ngram) or the file's draft block (mtp); same text, faster.",
        ),
        None,
    ),
    "draft": (
        _engine(
            str | None,
            "--draft",
            help="For speculative decoding: a draft model with the same vocabulary, or an EAGLE-3 draft.",
        ),
        None,
    ),
    "mmproj": (
        _engine(
            str | None,
            "--mmproj",
            help="File with the encoders of pictures and sounds.",
            show_default="beside the model",
        ),
        None,
    ),
    "backend": (Backend, "cpu"),
    "device": (Device, "cpu"),
    "n_gpu_layers": (GPULayers, None),
    "n_cpu_moe": (CPUExperts, 0),
    "tensor_devices": (TensorDevices, None),
    "load": (_engine(Literal["mmap", "read"], "--load", help="Map the file, or read it into memory."), "mmap"),
}


def is_model(word: str) -> bool:
    """Whether a word can only be meant as a model."""
    return word in MODELS or word.startswith(HF_PREFIX) or word.endswith(".gguf")


def one_model(positional: str | None, option: str | None) -> str:
    """Return the model that a command names by an argument, or by -m, or not at all.

    Raises
    ------
    BadParameter
        If it is named twice.
    """
    if positional is not None and option is not None:
        raise BadParameter(f"the model is given twice: {positional!r}, and -m {option!r}")
    return positional or option or MODEL


@contextmanager
def usage_errors() -> Iterator[None]:
    """Report a ParameterError as wrong usage, for the exit status 2: the value came from the command line."""
    try:
        yield
    except ParameterError as error:
        raise BadParameter(str(error)) from None


def with_cli_defaults(params: SamplingParams, file: Mapping[str, Any]) -> SamplingParams:
    """Fill in CLI_DEFAULTS, except fields set by the params or the model file, or not in the sampler order."""
    order = file.get("samplers") if params.samplers is None else params.samplers
    unset: dict[str, Any] = {
        name: value
        for name, value in CLI_DEFAULTS.items()
        if getattr(params, name) is None and name not in file and (order is None or name in order)
    }
    return replace(params, **unset)


def signature_with(
    command: Callable[..., None], replaced: Collection[str], added: Mapping[str, tuple[Any, Any]]
) -> inspect.Signature:  # fmt: skip
    """Return the signature of a command without the parameters `replaced`, and with options: annotation and default."""
    own = [
        parameter.replace(kind=parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name not in replaced
    ]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    return inspect.Signature([*own, *shared])


def takes_params(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options of SAMPLING and ENGINE; the command receives `sampling` and `engine`."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        sampling = {name: value for name in SAMPLING if (value := values.pop(name)) is not None}
        if "grammar" in sampling:
            sampling["grammar"] = read_file("--grammar-file", sampling["grammar"])
        if not sampling.get("json_schema", "{").lstrip().startswith("{"):
            sampling["json_schema"] = read_file("--json-schema", sampling["json_schema"])
        n_seqs = 1 if sampling["cfg_scale"] == 1.0 else 2
        with usage_errors():
            read_texts(sampling)
            params = SamplingParams(**sampling)
            engine = EngineParams(**{name: values.pop(name) for name in ENGINE}, n_seqs=n_seqs)
        command(**values, sampling=params, engine=engine)

    own = signature_with(command, ("sampling", "engine"), SAMPLING | ENGINE)
    wrapper.__signature__ = own  # type: ignore[attr-defined]
    return wrapper
