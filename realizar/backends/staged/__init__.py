"""The staged backend: runs one model on several backends, each of which computes stages of the plans."""
