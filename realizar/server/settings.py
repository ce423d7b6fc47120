"""Settings: the options of `realizar serve`, from the command line, the environment and a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from realizar.errors import ParameterError
from realizar.params import Activations


def _split(value: object) -> object:
    """Return the words of a text separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pair(value: object) -> object:
    return tuple(value.split("/")) if isinstance(value, str) and "/" in value else value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("may not be empty; leave it out for the default")
    return value


Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
FilePath = Annotated[Path, BeforeValidator(_not_empty)]
GIB = 2**30


class Settings(BaseSettings):
    """The options of a server. Each is also an environment variable, REALIZAR_ and the name in capitals.

    Attributes
    ----------
    models : list of str
        Names, paths or hf: references; the first one answers requests that name no model.
    alias : list of str
        NAME for the first model, or NAME=MODEL.
    chat_template : list of str
        FILE or NAME for the first model, or MODEL=FILE and the like: a chat template in place of the model's own.
    lora : list of str
        NAME=PATH: LoRA adapters of the first model, served as models of these names.
    host, port, uds
        Where the server listens; `uds` is a path of a Unix socket, in place of host and port.
    api_key, api_key_file
        Keys, separated by commas; a file with one key in each line.
    cors : list of str
        Origins whose pages may call the server; "*" allows all.
    ssl_keyfile, ssl_certfile : Path or None
        For HTTPS.
    memory : float or None
        GiB that loaded models may take together.
    max_queue : int
        Requests of each model that may wait, and so texts in one request.
    timeout : float
        Seconds that a request may take.
    max_body : float
        MiB of a request's body.
    max_n : int
        Completions of one prompt.
    max_tokens : int or None
        Tokens of one completion; None: as many as the context has room for.
    slot_save_path : Path or None
        Folder for the KV caches that clients save; None: they may save none.
    traces : bool
        Whether spans are sent (extra `otel`).
    log_format, log_level
        How the log is written.
    n_threads, n_ctx, n_seqs, n_batch, kv_type, activations, speculate, device, n_gpu_layers, n_cpu_moe
        See `LLM`.
    tensor_device : list of str
        PATTERN=DEVICE: `tensor_devices` of `LLM`.
    mmproj : list of str
        Files with encoders of pictures and sounds: FILE of the first model, or MODEL=FILE.
    allow_urls : list of str
        What URLs of remote pictures and sounds that are read begin with; * allows all.
    """

    model_config = SettingsConfigDict(env_prefix="REALIZAR_", extra="forbid")

    models: Words = Field(min_length=1)
    alias: Words = []
    chat_template: Words = []
    lora: Words = []
    host: Annotated[str, BeforeValidator(_not_empty)] = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    uds: FilePath | None = None
    api_key: SecretStr | None = None
    api_key_file: FilePath | None = None
    cors: Words = []
    ssl_keyfile: FilePath | None = None
    ssl_certfile: FilePath | None = None
    memory: float | None = Field(default=None, gt=0, le=2**20)
    max_queue: int = Field(default=256, ge=1)
    timeout: float = Field(default=600.0, gt=0, le=10**6)
    max_body: float = Field(default=16.0, gt=0, le=2**20)
    max_n: int = Field(default=16, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    slot_save_path: FilePath | None = None
    traces: bool = False
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    n_threads: int | None = None
    n_ctx: int | None = None
    n_seqs: int = 4
    n_batch: int = 512
    kv_type: Annotated[str | tuple[str, str], NoDecode, BeforeValidator(_pair)] = "f16"
    activations: Activations | None = None
    speculate: Literal["ngram"] | None = None
    device: str = "cpu"
    n_gpu_layers: int | None = None
    n_cpu_moe: int = 0
    tensor_device: Words = []
    mmproj: Words = []
    allow_urls: Words = []

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Return the sources of options, the most important first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _check_files(self) -> Settings:
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile: needs a certificate, too; give ssl_certfile")
        for name in ("ssl_keyfile", "ssl_certfile"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name}={path}: there is no such file")
        if self.slot_save_path is not None and not self.slot_save_path.is_dir():
            raise ValueError(f"slot_save_path={self.slot_save_path}: there is no such folder")
        return self

    @property
    def keys(self) -> list[str]:
        """All keys that give access; empty if none is needed.

        Raises
        ------
        ParameterError
            If the key file cannot be read, or has no key.
        """
        keys = [] if self.api_key is None else [key.strip() for key in self.api_key.get_secret_value().split(",")]
        if self.api_key_file is not None:
            try:
                lines = self.api_key_file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ParameterError(f"api_key_file={self.api_key_file}: cannot be read: {error}") from None
            keys += [line.strip() for line in lines if not line.lstrip().startswith("#")]
        found = [key for key in keys if key]
        if not found and (self.api_key is not None or self.api_key_file is not None):
            raise ParameterError("api_key, api_key_file: there is no key in them; leave both out to need none")
        return found

    @property
    def max_body_bytes(self) -> int:
        """Most bytes of a request's body."""
        return int(self.max_body * 2**20)

    @property
    def engine(self) -> dict[str, Any]:
        """The parameters of each model's engine."""
        names = (
            "n_threads", "n_ctx", "n_seqs", "n_batch", "kv_type", "activations", "speculate", "device", "n_gpu_layers",
            "n_cpu_moe",
        )  # fmt: skip
        allowed = True if "*" in self.allow_urls else tuple(self.allow_urls)
        placed = tuple(map(_placed, self.tensor_device))
        more = {"max_waiting": self.max_queue, "allow_urls": allowed, "tensor_devices": placed}
        return {**{name: getattr(self, name) for name in names}, **more}


def _placed(text: str) -> tuple[str, str]:
    """Return the pattern and the device of PATTERN=DEVICE."""
    pattern, mark, device = text.rpartition("=")
    if not mark:
        raise ParameterError(f"tensor_device={text}: must be PATTERN=DEVICE, such as ffn_.*_exps=cpu")
    return pattern, device


def read_settings(given: dict[str, Any], config: Path | None = None) -> Settings:
    """Return the settings: those given, then those of the environment, then those of a TOML file.

    Raises
    ------
    ParameterError
        If an option is unknown or invalid, or the file cannot be read.
    """

    class Configured(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    if config is not None and not config.is_file():
        raise ParameterError(f"config={config}: there is no such file")
    try:
        return Configured(**given)
    except ValidationError as error:
        raise ParameterError("; ".join(map(_message, error.errors(include_input=False, include_url=False)))) from None
    except ValueError as error:  # TOML syntax
        raise ParameterError(f"config={config}: {error}") from None


def _message(fault: Any) -> str:
    name, text = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
    return f"{name}: {text}" if name else text
