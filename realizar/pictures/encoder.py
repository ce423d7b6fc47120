"""PictureEncoder: computes the rows of pictures or sounds with an encoder, and keeps those of the last ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar import backends, forks
from realizar.arch import Tile
from realizar.errors import ContextFullError, GGUFError, RealizarError, SoundError, memory_for
from realizar.params import Embeddings, Tokens
from realizar.pictures.projector_file import SUBJECTS
from realizar.runtime.backend import CompileParams, StorageParams
from realizar.runtime.batch import Batch

if TYPE_CHECKING:
    import numpy.typing as npt

    from realizar.params import EngineParams
    from realizar.pictures.projector_file import ProjectorFile
    from realizar.runtime.backend import Backend, Program

    F32 = npt.NDArray[np.float32]

CACHE_BYTES = 256 << 20
"""Bytes of rows that an encoder keeps."""
STEP_PATCHES = 1024
"""Patches of tiles that are encoded in one step; a larger tile has a step of its own."""


@dataclass(frozen=True)
class EncoderStats:
    """What an encoder has done: tiles that it encoded, steps that it took, pictures whose rows it still had."""

    n_encoded: int
    n_steps: int
    n_hits: int


class PictureEncoder:
    """Encodes pictures, or sounds, to parts of a prompt. Thread-safe; they are encoded one call after the other.

    Parameters
    ----------
    file : ProjectorFile
        It is closed with the encoder.
    n_embd, n_deepstack : int
        Of the language model: the width of its rows, and the layers after which it adds further rows.
    params : EngineParams
        n_threads, activations and backend.
    max_rows : int
        Rows that a picture should have at most.
    n_ctx : int
        Rows that all pictures of a call may have together; by default `max_rows`.

    Raises
    ------
    GGUFError
        If the file is for a language model of another width.
    """

    def __init__(
        self, file: ProjectorFile, n_embd: int, n_deepstack: int, params: EngineParams, max_rows: int,
        n_ctx: int | None = None,
    ) -> None:  # fmt: skip
        graph = file.graphs.get("project")  # there is none if pictures become tokens
        self.outputs = () if graph is None else tuple(graph.outputs)
        width = {(n_embd,)} if graph is None else {graph.values[i].shape for i in graph.outputs.values()}
        if width != {(n_embd,)} or (graph and len(self.outputs) not in (1, 1 + n_deepstack)):
            raise GGUFError(
                f"{file.file.path.name}: gives rows of {min(width)[0]} numbers, and {len(self.outputs) - 1} further "
                f"ones for deepstack, but the language model has n_embd = {n_embd} and reads {n_deepstack} further "
                "ones; use the mmproj file of this model"
            )
        self.file = file
        self.max_rows = max_rows
        self.n_ctx = max_rows if n_ctx is None else n_ctx
        self._params = params
        self._lock = forks.Lock()
        self._is_closed = False
        self._backend: Backend | None = None
        self._programs: dict[str, tuple[int, Program]] = {}
        self._kept: OrderedDict[bytes, list[str | Tokens | Embeddings]] = OrderedDict()
        self._n_bytes = self._n_encoded = self._n_steps = self._n_hits = 0

    @property
    def placeholder(self) -> str:
        """The text by which chat templates mark a picture."""
        return self.file.projector.placeholder

    def stats(self) -> EncoderStats:
        """Return counts since the encoder was made."""
        return EncoderStats(self._n_encoded, self._n_steps, self._n_hits)

    @property
    def n_bytes(self) -> int:
        """Bytes of memory that it needs at most: its file, rows that are kept, and buffers of the steps so far."""
        programs = list(self._programs.values())
        return self.file.file.n_bytes + CACHE_BYTES + sum(program.n_bytes for _, program in programs)

    def parts(self, pictures: Sequence[npt.NDArray[Any]]) -> list[list[str | Tokens | Embeddings]]:
        """Return the parts of a prompt for each picture: texts and embeddings.

        A picture whose rows are kept is not encoded again, and pictures of one call are encoded together.

        Parameters
        ----------
        pictures : sequence of uint8 [height, width, 3], or of float32 [n] at 16 kHz
            Pictures, or what the encoder reads instead: sounds.

        Raises
        ------
        PictureError, SoundError
            If the model cannot read a picture of such a shape, or a sound of such a length.
        ContextFullError
            If the pictures do not fit into the context together; a SoundError for sounds.
        MissingExtraError
            If Pillow is not installed.
        OutOfMemoryError
        RealizarError
            If the encoder is closed.
        """
        keys = [_digest(picture) for picture in pictures]
        noun = SUBJECTS[self.file.modality]
        with self._lock, memory_for(f"encoding {noun}", lambda: f"{len(pictures)} {noun}; make them smaller"):
            if self._is_closed:
                raise RealizarError(f"the LLM of this encoder of {noun} is closed; make a new one")
            found = {key: self._kept[key] for key in keys if key in self._kept}
            new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in found}
            self._n_hits += len(keys) - len(new)
            found.update(self._encoded(new))
            self._keep(found)
        return [found[key] for key in keys]

    def close(self) -> None:
        """Free all memory."""
        with self._lock:
            self._is_closed = True
            self._forget()
            self._kept.clear()
            self._n_bytes = 0
            self.file.close()

    def _encoded(self, pictures: Mapping[bytes, npt.NDArray[Any]]) -> dict[bytes, list[str | Tokens | Embeddings]]:
        projector, hp = self.file.projector, self.file.hp
        tables = self.file.tables
        pieces: dict[bytes, list[str | Tile | Sequence[int]]] = {}
        tiles: list[Tile] = []
        n = 0
        for key, picture in pictures.items():
            pieces[key] = list(projector.read(picture, hp, self.max_rows, tables))
            own_tiles = [piece for piece in pieces[key] if isinstance(piece, Tile)]
            tiles += own_tiles
            n += sum(projector.n_rows(tile, hp) for tile in own_tiles)
            n += sum(len(piece) for piece in pieces[key] if not isinstance(piece, (str, Tile)))
            if n > self.n_ctx:  # before any is encoded, and before many are read
                error = SoundError if self.file.modality == "audio" else ContextFullError
                raise error(
                    f"{len(pieces)} of {len(pictures)} {SUBJECTS[self.file.modality]} have {n} rows, but {self.n_ctx} "
                    "fit into the context: raise n_ctx, or give less"
                )
        rows = iter(self.rows(tiles))
        out: dict[bytes, list[str | Tokens | Embeddings]] = {}
        for key, own in pieces.items():
            parts: list[str | Tokens | Embeddings] = []
            for piece in own:
                if isinstance(piece, Tile):
                    parts += self._parts_of_tile(piece, next(rows), key + len(parts).to_bytes(4, "little"))
                else:
                    parts.append(piece if isinstance(piece, str) else Tokens(piece))
            self._n_encoded += not any(isinstance(piece, Tile) for piece in own)
            out[key] = parts
        return out

    def _parts_of_tile(self, tile: Tile, rows: F32, identity: bytes) -> list[str | Tokens | Embeddings]:
        """Return the rows of a tile with the texts between them; `identity` is that of the first ones."""
        projector, hp = self.file.projector, self.file.hp
        positions = projector.row_positions(tile, hp)
        parts: list[str | Tokens | Embeddings] = []
        start = 0
        for one in projector.split_rows(tile, hp):
            if isinstance(one, str):
                parts.append(one)
                continue
            own = None if positions is None else positions[:, start : start + one]
            part = identity + start.to_bytes(4, "little")
            parts.append(Embeddings(rows[start : start + one], own, projector.mask, part))
            start += one
        return parts

    def rows(self, tiles: Sequence[Tile]) -> list[F32]:
        """Return the rows of tiles, float32 [n, n_embd * (1 + n_deepstack)] each; the lock must be held."""
        out: list[F32] = []
        projector, hp = self.file.projector, self.file.hp
        for group in _groups(tiles):
            values = self._run_encode(group)
            tables = self.file.tables
            gathered = [projector.gather(own, tile, hp, tables) for own, tile in zip(values, group, strict=True)]
            together = {name: np.concatenate([one[name] for one in gathered]) for name in gathered[0]}
            n = [len(next(iter(one.values()))) for one in gathered]
            found = self._run("project", together, n, np.zeros((1, sum(n)), np.int32))
            wide = np.concatenate([found[name] for name in self.outputs], axis=1)
            out += np.split(wide, np.cumsum(n)[:-1])
            self._n_encoded += len(group)
        return out

    def _run_encode(self, tiles: Sequence[Tile]) -> list[dict[str, F32]]:
        """Run the programs before "project" and return the results of the last for each tile."""
        projector, hp = self.file.projector, self.file.hp
        each = [{"patches": tile.patches, **projector.inputs(tile, hp, self.file.tables)} for tile in tiles]
        self._n_steps += 1
        results: list[dict[str, F32]] = []
        for name in self.file.graphs:
            if name == "project":
                continue
            groups = [projector.groups(name, tile, hp) for tile in tiles]
            own = [projector.given(name, found, tile, hp) for found, tile in zip(each, tiles, strict=True)]
            given = {key: np.concatenate([one[key] for one in own]) for key in own[0]}
            places = [projector.encoder_positions(name, tile, hp) for tile in tiles]
            positions = np.ascontiguousarray(np.concatenate(places, axis=1), np.int32)
            values = self._run(name, given, [n for counts in groups for n in counts], positions)
            ends = np.cumsum([sum(counts) for counts in groups])[:-1]
            cut = {key: np.split(rows, ends) for key, rows in values.items()}
            results = [{key: rows[i] for key, rows in cut.items()} for i in range(len(tiles))]
            each = [{**found, **result} for found, result in zip(each, results, strict=True)]
        return results

    def _run(self, name: str, given: Mapping[str, F32], counts: Sequence[int], positions: Any) -> dict[str, F32]:
        """Run a program on the rows of several tiles, and return copies of its outputs."""
        n = sum(counts)
        no_slots = np.zeros(len(counts), np.int32)
        batch = Batch(
            tokens=np.zeros(n, np.int32), positions=positions, seq_past=no_slots, state_slots=no_slots,
            seq_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), block_tables=(),
            outputs=np.arange(n, dtype=np.int32),
        )  # fmt: skip
        found = self._program(name, n).run(batch, overrides=given)
        return {key: np.array(rows).reshape(n, -1) for key, rows in found.items()}

    def _program(self, name: str, n: int) -> Program:
        """Return a program for steps of n rows; it is compiled anew if it was for fewer."""
        size, program = self._programs.get(name, (0, None))
        if program is not None and n <= size:
            return program
        if self._backend is None:
            self._backend = backends.make(self._params)
        backend, size = self._backend, max(256, 1 << (n - 1).bit_length())
        self._programs.pop(name, None)
        plan = self.file.plan(name, backend.passes)
        storage = backend.storage((), (), StorageParams((), 0))
        how = CompileParams(size, size, self._params.activations or "int8")
        program = backend.compile(plan, self.file.tensors, storage, how)
        self._programs[name] = (size, program)
        return program

    def _keep(self, found: Mapping[bytes, list[str | Tokens | Embeddings]]) -> None:
        """Keep the rows of the last pictures, up to CACHE_BYTES."""
        for key, parts in found.items():
            if key in self._kept:
                self._kept.move_to_end(key)
                continue
            self._kept[key] = parts
            self._n_bytes += _n_bytes(parts)
        while self._n_bytes > CACHE_BYTES and self._kept:
            _, parts = self._kept.popitem(last=False)
            self._n_bytes -= _n_bytes(parts)

    def _forget(self) -> None:
        """Free the programs and the threads."""
        self._programs.clear()
        if self._backend is not None:
            self._backend.close()
            self._backend = None


def _digest(picture: npt.NDArray[Any]) -> bytes:
    """Return a hash of a picture's shape and pixels."""
    state = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16, person=b"picture")
    state.update(picture.tobytes())
    return state.digest()


def _groups(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """Return tiles in the groups that are encoded together."""
    groups: list[list[Tile]] = []
    n = STEP_PATCHES
    for tile in tiles:
        if n + len(tile.patches) > STEP_PATCHES:
            groups.append([])
            n = 0
        groups[-1].append(tile)
        n += len(tile.patches)
    return groups


def _n_bytes(parts: Sequence[str | Tokens | Embeddings]) -> int:
    return sum(part.rows.nbytes for part in parts if isinstance(part, Embeddings))
