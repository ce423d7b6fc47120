"""Two hundred requests with cancels, faults, deadlines and preemptions leave nothing behind."""

from tests.tools.soak import soak


def test_soak():
    counts = soak(200)
    assert sum(counts[name] for name in ("done", "failed", "cancelled", "refused")) == 200
    assert min(counts.values()) > 0 or counts["refused"] == 0
