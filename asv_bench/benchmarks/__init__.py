"""Component benchmarks tracked over commits; docs/benchmarks.md has the rules."""
