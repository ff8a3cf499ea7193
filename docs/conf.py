"""Settings of the site, which `make docs` builds of docs/ and of pages that stand beside it.

The source is the root of the repository, so that links between pages are those that hold there.
"""

import fibdask

project = "fibdask"
author = "fibdask developers"
copyright = f"2026, {author}"
version = release = fibdask.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "deploy/README.md",
    "deploy/*/README.md",
    "examples/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
]
# Folders that need not be looked through.
exclude_patterns = [".*", "docs/_*", "fibdask*", "tests", "models", "benchmark-data", "build"]

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Of Python: what the docstrings say.
default_role = "py:obj"  # a name in `` ` `` is a link, if there is such a name
autosummary_generate = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False
# Types stand in signatures. Not every function needs an example, or has relatives.
numpydoc_validation_checks = {"all", "ES01", "EX01", "PR04", "SA01", "SA04"}
numpydoc_validation_exclude = {r"\.__init__$"}

html_theme = "pydata_sphinx_theme"
html_title = f"fibdask {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {f"docs/{page}": [] for page in ("index", "start", "tutorial")}
html_show_sourcelink = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["_templates"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
