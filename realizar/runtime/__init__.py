"""From a graph to execution: passes, plans, the backend interface, and the batch of a step."""
