"""Benchmarks of the parts over the history; docs/benchmarks.md has the house rules."""
