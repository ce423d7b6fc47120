"""From a graph to something that runs: passes, the plan, its binding to a backend, and the batch a step is given."""
