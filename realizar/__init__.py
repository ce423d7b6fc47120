"""realizar: GGUF language models on the CPU at the limit of the hardware."""

__version__ = "0.1.0"
