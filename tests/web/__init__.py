"""The chat page, in a real browser: `pytest -m browsers` (docs/web.md)."""
