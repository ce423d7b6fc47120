"""The CPU backend: a plan becomes an op array over one arena, which worker threads execute with the C kernels."""
