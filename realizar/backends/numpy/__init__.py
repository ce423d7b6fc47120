"""The numpy backend: runs plans by the numpy definition of every op, slowly and without a compiled kernel."""
