"""Sphinx settings. How to build both languages, and to translate: ``.github/CONTRIBUTING.md``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "tusfacturas-async"
author = "The tusfacturas_async authors"
copyright = "2026, the tusfacturas_async authors"  # noqa: A001 - Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
extensions += ["api", "diagram", "english"]  # ours, in _ext
exclude_patterns = ["_*", "inventories", "locale"]
html_theme = "furo"
html_title = "tusfacturas-async"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
myst_heading_anchors = 3
nitpicky = True

# One catalogue for each page, without line numbers: a paragraph that moved is no work for a translator.
locale_dirs = ["locale"]
gettext_compact = False
gettext_location = False
gettext_additional_targets = ["image"]
# Not translated: what developers of this package read, and the docstrings. Their Spanish pages say so.
english_only = ["changelog*", "decisions/*", "reference/api/*"]

# Names of Python link to its documentation. The list is ours, so that no build asks the network.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "inventories/python.txt")}

nitpick_ignore_regex = [
    # They publish no inventory; and a name that only type-checkers import.
    (
        "py:.*",
        r"(httpx|opentelemetry|procrastinate|prometheus_client)\..*|App|Blueprint|datetime|_asyncio.Task",
    ),
    # Ours, and no page of this documentation: what a signature or a base names and no user writes.
    ("py:.*", r"tusfacturas_async\.(.+\.)?_.*|TransportFailure|Leases?|Store|Writer|Resolve"),
    ("py:class", r"tusfacturas_async\.(client\.T|webhooks\.tokens\.Name|webhooks\.stored\.States)"),
    ("py:class", r"tusfacturas_async\.(fleet\.store\.Store|sandbox\.switches\.SwitchOptions)"),
    ("py:class", r"tusfacturas_async\.webhooks\.confirmations\..*"),
    ("py:class", r"tusfacturas_async\.instrumentation\.observers\.Observes.*"),
]
