"""Backends: what runs plans. Each one binds a plan to its own memory, threads and kernels."""
