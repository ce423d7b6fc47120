"""The compiled kernels; imports nothing of realizar."""
