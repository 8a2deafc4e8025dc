"""Sphinx settings."""

project = "tusfacturas-async"
author = "The tusfacturas_async authors"
copyright = "2026, the tusfacturas_async authors"  # noqa: A001 - Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
myst_heading_anchors = 3
# TypeVars and forward references of our own private modules are no pages of this documentation.
nitpicky = False
