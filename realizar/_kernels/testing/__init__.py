"""Kernels on numpy arrays for tests and benchmarks; nothing in realizar imports them."""
