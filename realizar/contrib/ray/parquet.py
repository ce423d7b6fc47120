"""run: a job over Parquet files with Ray Data, which goes on where an earlier run ended.

The rows of the source are divided into parts of at most `rows_per_part` rows. A part has a fixed name, and appears in
the output folder at once and complete (it is renamed), so every row is in it exactly once, however often a worker or
the driver is killed, and whichever worker computes a part again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.contrib.ray.data import Worker

JOB = "_job.json"
"""The file of the output folder that says of which job its parts are; readers of Parquet skip it for its name."""


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes
    ----------
    n_rows, n_errors : int
        Rows of the parts that this run wrote; those of them with an error.
    n_parts, n_parts_before : int
        Parts that this run wrote, and those that it found.
    """

    n_rows: int
    n_errors: int
    n_parts: int
    n_parts_before: int


def run(
    source: str | os.PathLike[str], out: str | os.PathLike[str], worker: type[Worker], arguments: Mapping[str, Any], *,
    n_workers: int = 1, n_threads: int = 1, rows_per_part: int = 256,
) -> Report:  # fmt: skip
    """Compute the parts of a job that its output folder lacks.

    Only one run at a time may write to a folder. All nodes must see the model, the source and the folder by the same
    paths, for example on a shared volume.

    Parameters
    ----------
    source : path
        A Parquet file, or a folder of them.
    out : path
        The output folder; its parts have the columns of the source and those of the worker.
    worker : class
        `Embed` or `Generate`, or another `Worker`.
    arguments : mapping
        Its arguments.
    n_workers, n_threads : int
        Workers, each with so many threads and as many of Ray's CPUs.
    rows_per_part : int
        Rows that are computed as one batch and that a killed worker computes again.

    Raises
    ------
    ParameterError
        If the source has no Parquet file, a number is not positive, or the folder has parts of another job.
    """
    for name, number in (("n_workers", n_workers), ("n_threads", n_threads), ("rows_per_part", rows_per_part)):
        if number < 1:
            raise ParameterError(f"{name}={number}: must be at least 1")
    files = _files(Path(source))
    folder = Path(out).resolve()
    job = {
        "source": [[path.name, path.stat().st_size, _hash_of_footer(path)] for path in files],
        "worker": f"{worker.__module__}.{worker.__qualname__}",
        "arguments": dict(arguments),
        "rows_per_part": rows_per_part,
    }
    _claim(folder, json.loads(json.dumps(job, default=str)))
    parts = list(_parts(files, rows_per_part))
    missing = [part for part in parts if not (folder / part["name"]).exists()]
    if not missing:
        return Report(0, 0, 0, len(parts))
    # A block for each part: a lost worker's part is computed again, and no other.
    written = ray.data.from_items(missing, override_num_blocks=len(missing)).map_batches(
        _Writer, fn_constructor_args=(worker, {**arguments, "n_threads": n_threads}, str(folder)), batch_size=1,
        batch_format="pyarrow", compute=ray.data.ActorPoolStrategy(size=n_workers), num_cpus=n_threads,
    )  # fmt: skip
    rows = list(written.iter_rows())
    n_rows, n_errors = (sum(row[name] for row in rows) for name in ("n_rows", "n_errors"))
    return Report(n_rows, n_errors, len(rows), len(parts) - len(missing))


class _Writer:
    """Computes and writes parts, in an actor of Ray Data."""

    def __init__(self, worker: type[Worker], arguments: dict[str, Any], folder: str) -> None:
        self._worker = worker(**arguments)
        self._folder = Path(folder)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Write the parts of a batch, and return their numbers of rows and errors."""
        return pa.Table.from_pylist([self._write(**part) for part in batch.to_pylist()])

    def _write(self, name: str, path: str, row_group: int, begin: int, n_rows: int) -> dict[str, int]:
        table = self._worker(_row_group(path, row_group).slice(begin, n_rows))
        own = self._folder / f".{name}.{uuid4().hex}.tmp"
        try:
            with own.open("wb") as file:
                pq.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            own.replace(self._folder / name)
        finally:
            with suppress(FileNotFoundError):
                own.unlink()
        return {"n_rows": table.num_rows, "n_errors": table.num_rows - table.column("error").null_count}


@lru_cache(maxsize=1)
def _row_group(path: str, row_group: int) -> pa.Table:
    """Return a row group; consecutive parts are mostly of the same one."""
    with pq.ParquetFile(path) as file:
        return file.read_row_group(row_group)


def _files(source: Path) -> Sequence[Path]:
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise ParameterError(f"source={source}: there is no Parquet file; give a file, or a folder with *.parquet")
    return [path.resolve() for path in files]


def _hash_of_footer(path: Path) -> str:
    """Return the SHA-256 of a Parquet file's metadata, which has the place and statistics of every column's pages."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        n_bytes = int.from_bytes(file.read(4), "little")
        file.seek(-8 - n_bytes, os.SEEK_END)
        return hashlib.sha256(file.read(n_bytes)).hexdigest()


def _claim(folder: Path, job: dict[str, Any]) -> None:
    """Make the folder that of this job, and remove what killed workers left behind.

    Raises
    ------
    ParameterError
        If it is another job's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / JOB
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in job if job[name] != found.get(name)]
        if changed:
            raise ParameterError(
                f"out={folder}: its parts are of another job ({', '.join(changed)} differ); give another folder"
            )
    elif any(folder.iterdir()):
        raise ParameterError(f"out={folder}: it has files and no {JOB}; give an empty folder")
    else:
        own = folder / f".{JOB}.tmp"
        own.write_text(json.dumps(job, indent=1), encoding="utf-8")
        own.replace(file)
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def _parts(files: Sequence[Path], rows_per_part: int) -> Iterator[dict[str, Any]]:
    """Yield what `_Writer` needs for each part; its name sorts by the order of rows."""
    for i, path in enumerate(files):
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        for group, n_rows in enumerate(sizes):
            for begin in range(0, n_rows, rows_per_part):
                yield {
                    "name": f"part-{i:05d}-{group:05d}-{begin:09d}.parquet", "path": str(path), "row_group": group,
                    "begin": begin, "n_rows": min(rows_per_part, n_rows - begin),
                }  # fmt: skip
