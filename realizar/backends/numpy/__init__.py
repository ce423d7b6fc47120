"""The numpy backend: runs plans with the numpy definitions of the ops, slowly and without compiled kernels."""
