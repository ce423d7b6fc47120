"""Comparisons with other implementations (extra: peers) on real models; skipped if either is missing."""
