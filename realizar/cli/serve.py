"""`realizar serve`: an HTTP server with the APIs of OpenAI, Anthropic, Ollama and llama-server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Exit, Option

from realizar.cli import options, served

EXAMPLE = "Example: realizar serve qwen2.5-coder-0.5b --port 8080 --alias gpt-4o"
_MODELS_HELP = "Names of 'realizar list', .gguf files, or hf:owner/repo:Q4_K_M; the first one is loaded at once."
_Words = list[str] | None


def command(
    models: Annotated[_Words, Argument(metavar="MODEL", help=_MODELS_HELP, autocompletion=options.model_names)] = None,
    config: Annotated[Path | None, Option(help="TOML file with these options.", show_default="REALIZAR_CONFIG")] = None,
    host: Annotated[str | None, Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, Option(help="Port; 0 takes a free one.", show_default="8080")] = None,
    uds: Annotated[Path | None, Option(help="Unix socket to listen on instead.")] = None,
    alias: served.Alias = None,
    chat_template: Annotated[
        _Words,
        Option(help="Template for the first model, or MODEL=...: a file, or a name in the model's.", metavar="FILE"),
    ] = None,
    lora: Annotated[
        _Words, Option(help="LoRA adapter of the first model, a model of this name for clients.", metavar="NAME=PATH")
    ] = None,
    api_key: Annotated[str | None, Option(help="Keys, separated by commas.", metavar="KEY,KEY...")] = None,
    api_key_file: Annotated[Path | None, Option(help="File with a key in each line.")] = None,
    cors: Annotated[_Words, Option(help="Origin whose pages may use the server; * allows all.")] = None,
    ssl_keyfile: Annotated[Path | None, Option(help="Key for HTTPS.")] = None,
    ssl_certfile: Annotated[Path | None, Option(help="Certificate for HTTPS.")] = None,
    memory: served.Memory = None,
    max_queue: Annotated[int | None, Option(help="Waiting requests of a model.", show_default="256")] = None,
    timeout: Annotated[float | None, Option(help="Seconds of one request.", show_default="600")] = None,
    max_body: Annotated[float | None, Option(help="MiB of a request.", show_default="16")] = None,
    max_n: Annotated[int | None, Option(help="Completions of one prompt.", show_default="16")] = None,
    max_tokens: Annotated[int | None, Option(help="Tokens of a completion.", show_default="the context")] = None,
    slot_save_path: Annotated[
        Path | None, Option(help="Folder for saved slots.", show_default="clients may save none")
    ] = None,
    traces: Annotated[
        bool | None, Option("--traces", help="Send OpenTelemetry traces (extra otel).", show_default="off")
    ] = None,
    log_format: Annotated[Literal["text", "json"] | None, Option(help="Form of the log.", show_default="text")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, Option(help="What is logged.", show_default="info")
    ] = None,
    n_threads: options.Threads = None,
    n_ctx: served.Context = None,
    n_seqs: served.Sequences = None,
    n_batch: served.Batch = None,
    kv_type: served.KVType = None,
    activations: options.RoundedTo = None,
    speculate: served.Speculate = None,
    device: served.Device = None,
    n_gpu_layers: served.GPULayers = None,
    n_cpu_moe: served.CPUExperts = None,
    tensor_device: served.TensorDevices = None,
    mmproj: served.Encoders = None,
    allow_urls: served.AllowedURLs = None,
) -> None:
    """Serve models over HTTP. Each option is also REALIZAR_... in the environment, and a key of the TOML file."""
    given = {name: value for name, value in locals().items() if name != "config"}
    named = os.environ.get("REALIZAR_CONFIG")
    found = served.settings("serve", given, config or (Path(named) if named else None))
    from realizar.server.run import serve

    with options.usage_errors():
        if status := serve(found):
            raise Exit(status)
