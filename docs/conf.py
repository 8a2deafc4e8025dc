"""Sphinx settings. Both languages: ``nox -s docs``, and to translate: ``.github/CONTRIBUTING.md``."""

project = "tusfacturas-async"
author = "The tusfacturas_async authors"
copyright = "2026, the tusfacturas_async authors"  # noqa: A001 - Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build", "locale"]
html_theme = "furo"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
python_maximum_signature_line_length = 88
myst_heading_anchors = 3
nitpicky = False

# One catalogue for each page, without line numbers: a paragraph that moved is no work for a translator.
locale_dirs = ["locale"]
gettext_compact = False
gettext_location = False
gettext_additional_targets = ["image"]
# Not translated: what developers of this package read, and the docstrings. Their Spanish pages say so.
english_only = ["changelog*", "decisions/*", "reference/api/*"]
