"""The CPU backend: plans become op arrays over one arena, which worker threads walk with the C kernels."""
