"""Compatibility: classes with the names, parameters and results of other libraries."""
