"""by_queue: an autoscaling policy for Ray Serve that counts the requests in the engines.

Serve's own policy counts HTTP requests. A request may have many prompts, or only list the models; the engine knows.
The module imports nothing of realizar: Serve runs a copy of it in its controller.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext


def by_queue(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Return the number of replicas with which each has `target_ongoing_requests` running and waiting.

    Requests that wait in Serve's proxies, because replicas have `max_ongoing_requests`, count too. Serve applies the
    bounds, delays and factors of `autoscaling_config` to the result.
    """
    found = context.aggregated_metrics or {}
    if not found.get("running"):
        return context.target_num_replicas, context.policy_state  # no replica has reported yet
    in_engines = sum(sum(found.get(name, {}).values()) for name in ("running", "waiting"))
    load = in_engines + (context.total_queued_requests or 0.0)
    return math.ceil(load / context.config.target_ongoing_requests), context.policy_state
