"""Integrations with other projects, each with its own extra; no other module imports them."""
