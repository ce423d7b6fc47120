"""Location of the parity files: the folder `shared` next to the repository, which may not exist."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the parity files are missing ({SHARED})")
