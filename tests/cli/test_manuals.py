"""The manual pages are those of the present parser, and groff reads them without a warning."""

import shutil
import subprocess
import sys

import pytest

from tests.meta.house import ROOT

PAGES = sorted((ROOT / "docs/man").glob("*.1"))


def test_the_pages_are_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "tools/manuals.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_page_says_what_the_command_does_and_takes():
    text = (ROOT / "docs/man/realizar-run.1").read_text()
    assert ".SH SYNOPSIS\n\\fBrealizar run\\fR [OPTIONS]" in text
    assert "\\fB\\-\\-temperature" in text
    assert len(PAGES) > 25


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_reads_them_without_a_warning():
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", *PAGES], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Why is the sky blue?" in done.stdout  # the example of `run`
