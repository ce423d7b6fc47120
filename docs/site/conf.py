"""Configuration of Sphinx for the pages of docs/ as a site: docs/decisions/0081-docs-site.md.

pip install '.[docs]' && sphinx-build -W --keep-going -c docs/site -b html . site
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

import realizar

ROOT = Path(__file__).resolve().parents[2]

project = "realizar"
version = release = realizar.__version__
html_theme = "furo"
html_title = f"realizar {version}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The source folder is the root of the repository, so that links between pages are the same here and on GitHub.
root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = ["docs/deployment/**", "docs/pictures/**"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 6  # as GitHub's
suppress_warnings = ["ref.python"]  # names of dimensions in the types of parameters, as in "uint8 [n]", are no links
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = ["ray", "lm_eval", "wgpu"]
napoleon_google_docstring = False
napoleon_use_rtype = False


API = ("models", "params", "output", "sampling", "arch", "files", "quality", "errors")


def contents() -> str:
    """Return table-of-contents trees: the pages that docs/index.md lists, by its sections, and the API reference."""
    parts = re.split(r"^#{2,3} (.+)$", (ROOT / "docs/index.md").read_text(), flags=re.MULTILINE)
    sections = {
        heading: [
            (ROOT / "docs" / page).resolve() for page in re.findall(r"^\| \[[^]]*\]\((\S+?\.md)\)", body, re.MULTILINE)
        ]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    sections["API reference"] = [ROOT / "docs/site/api" / name for name in API]
    sections["Project"] = [ROOT / "docs/index", ROOT / "docs/glossary", ROOT / "CHANGELOG"]
    trees = (
        "\n".join(f"/{page.relative_to(ROOT).with_suffix('')}" for page in pages).join(
            (f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n:caption: {heading}\n\n", "\n```\n")
        )
        for heading, pages in sections.items()
    )
    return "".join(trees)


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the trees to the first page, for the navigation."""
    if docname == root_doc:
        source[0] += contents()


def write_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write index.html, which web servers look for."""
    if error is None and app.builder.name == "html":
        page = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        (Path(app.outdir) / "index.html").write_text(page)


def setup(app: Sphinx) -> None:
    """Register the events; called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", write_first_page)
