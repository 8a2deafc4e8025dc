"""What is to be translated: from the pages to the Spanish catalogues (``docs/locale/es``).

``python docs/catalogues.py`` brings them up to date; ``nox -f .ci/noxfile.py -s translate`` calls it.
What is new stands in them without a translation, what changed is marked ``fuzzy``, what is gone is gone.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
CATALOGUES = DOCS / "locale" / "es" / "LC_MESSAGES"
THEME = "sphinx"  # the catalogue of what stands around a page: no page's, and written by hand


def extract(folder: Path) -> dict[str, Path]:
    """Write a template for each translated page into this folder; from the page's name to its template."""
    english = runpy.run_path(str(DOCS / "conf.py"))
    left_out = ",".join([*english["exclude_patterns"], *english["english_only"]])
    command = [sys.executable, "-m", "sphinx", "-Q", "-b", "gettext", "-d", str(folder / "doctrees")]
    command += ["-D", f"exclude_patterns={left_out}", str(DOCS), str(folder)]
    # A template made anew differs in what changed on the page, not in the date of its making.
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
    return {str(file.relative_to(folder).with_suffix("")): file for file in folder.rglob("*.pot")}


def update() -> None:
    """Bring the catalogues up to date."""
    with tempfile.TemporaryDirectory() as folder:
        pages = extract(Path(folder))
        command = [sys.executable, "-m", "sphinx_intl", "update", "-p", folder, "-d", str(DOCS / "locale")]
        subprocess.run([*command, "-l", "es", "-w", "0", "--no-obsolete"], check=True)
    for catalogue in CATALOGUES.rglob("*.po"):
        if str(catalogue.relative_to(CATALOGUES).with_suffix("")) not in {THEME, *pages}:
            catalogue.unlink()


if __name__ == "__main__":
    update()
