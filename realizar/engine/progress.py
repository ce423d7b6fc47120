"""A progress bar of requests, on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.engine.request import Request


@contextmanager
def request_progress(requests: Sequence[Request]) -> Iterator[None]:
    """Show how many of the requests are over, until the context ends; without a terminal only the last state."""
    from rich.console import Console, RenderableType
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    class Bar(Progress):
        """Counts the requests each time it is drawn, which rich does in a thread of its own."""

        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                task.completed = sum(request.is_over for request in requests)
            yield from super().get_renderables()

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        bar.add_task("prompts", total=len(requests))
        yield
