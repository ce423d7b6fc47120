"""Comparisons with other implementations (extra: peers) on real models; skipped where either is missing."""
