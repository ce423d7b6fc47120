"""Tests beside another implementation (extra: peers) on the real models; skipped where either is missing."""
