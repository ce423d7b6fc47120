"""Arena: the device memory of the values of a step, which grows with the number of outputs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from realizar.runtime.plan import Slots, assign_slots

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device


class Arena:
    """A buffer for each slot of values that are never needed at the same time.

    A slot has a buffer of its own: dispatches that share no buffer may run at the same time. Values with a row for each
    output of the step have slots apart. Their buffers are made for as many outputs as steps ask for, since the logits
    of n_batch rows take more than all other values.

    Parameters
    ----------
    device : Device
    life : dict
        Key -> indices of the first and the last op that use it.
    n_floats : dict
        Key -> floats of a row.
    of_outputs : set
        Keys of values with a row for each output.
    n_batch : int
        Rows of a step, at most.
    shared : Arena, optional
        Its buffers of values that are not of outputs may be used, where they are large enough.

    Attributes
    ----------
    n_bytes : int
        Bytes of its own buffers.
    """

    def __init__(
        self, device: Device, life: Mapping[Hashable, tuple[int, int]], n_floats: Mapping[Hashable, int],
        of_outputs: set[Hashable], n_batch: int, shared: Arena | None = None,
    ) -> None:  # fmt: skip
        self._device, self._n_batch, self._of_outputs = device, n_batch, of_outputs
        parts = ({k for k in life if k not in of_outputs}, of_outputs.intersection(life))
        self._slots: list[Slots] = [
            assign_slots({k: life[k] for k in part}, {k: 4 * n_floats[k] for k in part}) for part in parts
        ]
        self._rows = [n_batch, 0]
        self._lent: list[Any] = [] if shared is None else list(shared._lent)
        self._own: list[Any] = []
        self._buffers: list[list[Any]] = [self._taken(), []]

    def buffer(self, key: Hashable) -> Any:
        """Return the buffer of a value or of scratch memory."""
        part = int(key in self._of_outputs)
        return self._buffers[part][self._slots[part].slot[key]]

    def fit(self, n_outputs: int) -> bool:
        """Make room for this number of outputs; return whether buffers have changed."""
        if n_outputs <= self._rows[1]:
            return False
        rows = 1
        while rows < n_outputs:
            rows *= 2
        for buffer in self._buffers[1]:
            buffer.destroy()
        self._rows[1], self._buffers[1] = min(rows, self._n_batch), []
        self._buffers[1] = self._made(1)
        return True

    @property
    def n_bytes(self) -> int:
        """Bytes of its own buffers."""
        return sum(buffer.size for buffer in (*self._own, *self._buffers[1]))

    def close(self) -> None:
        """Free the memory."""
        for buffer in (*self._own, *self._buffers[1]):
            buffer.destroy()
        self._buffers, self._own, self._lent = [[], []], [], []

    def _taken(self) -> list[Any]:
        """Return a buffer for each slot of n_batch rows: the least of those lent that is large enough, or a new one."""
        free, out = sorted(self._lent, key=lambda buffer: buffer.size), []
        for width in self._slots[0].width:
            found = next((buffer for buffer in free if buffer.size >= width * self._n_batch), None)
            if found is None:
                found = self._device.buffer(width * self._n_batch)
                self._own.append(found)
            else:
                free.remove(found)
            out.append(found)
        self._lent += self._own
        return out

    def _made(self, part: int) -> list[Any]:
        return [self._device.buffer(width * self._rows[part]) for width in self._slots[part].width]
