"""The suite on every Python that the metadata names and this machine has, and in the event loop's modes.

What is tested is what users get: the wheel that the sdist builds, by the tests that the sdist holds. The work
tree is tested by the README's second command. All: ``nox -f .ci/noxfile.py``; one: ``-s suite-3.12``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
PYTHONS = nox.project.python_versions(nox.project.load_toml(ROOT / "pyproject.toml"))

NO_LOOP = ("cli", "test_benchmarks.py", "test_data.py", "test_docs.py", "test_exports.py", "test_models.py")
NO_LOOP += ("test_names.py", "test_parsing.py", "test_report.py", "test_site.py", "test_triage.py")
NO_LOOP += ("test_wire.py",)
"""The tests that no mode of the event loop concerns: they have none, or it is another process's."""

nox.options.error_on_missing_interpreters = False  # also where CI is set: they are skipped by name
nox.options.sessions = ["build", "suite", "eager", "uvloop", "debug"]


def pyenv_folders() -> list[str]:
    """Of all Pythons that pyenv holds; its shims on PATH know only those that are switched on."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return []
    root = subprocess.check_output([pyenv, "root"], text=True).strip()
    return [str(folder) for folder in sorted(Path(root).glob("versions/*/bin"))]


os.environ["PATH"] = os.pathsep.join([*pyenv_folders(), os.environ["PATH"]])
NEWEST = next((version for version in reversed(PYTHONS) if shutil.which(f"python{version}")), sys.executable)


@nox.session(python=False)
def build(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel; a second time from the work tree, and no byte may differ."""
    again = Path(session.create_tmp()) / "again"
    for folder in (DIST, again):
        shutil.rmtree(folder, ignore_errors=True)
    python = (sys.executable, "-m")
    session.run(*python, "build", "--outdir", str(DIST), str(ROOT))
    session.run(*python, "build", "--sdist", "--wheel", "--outdir", str(again), str(ROOT))
    if (first := digests(DIST)) != (second := digests(again)):
        session.error(f"two builds differ: {first} and {second}")
    for name, digest in first.items():
        session.log(f"{name}: sha256 {digest}")
    session.run(*python, "twine", "check", "--strict", *map(str, DIST.iterdir()))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what was built, by file."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("tusfacturas*")}


@nox.session(python=PYTHONS, requires=["build"])
def suite(session: nox.Session) -> None:
    """All tests."""
    run(session)


@nox.session(python=NEWEST, requires=["build"])
def eager(session: nox.Session) -> None:
    """Tasks that begin to run where they are created."""
    if NEWEST == "3.11":
        session.skip("asyncio.eager_task_factory came with Python 3.12")
    run(session, "--loop=eager", *without(NO_LOOP))


@nox.session(python=NEWEST, requires=["build"])
def uvloop(session: nox.Session) -> None:
    """The loop of most web servers."""
    run(session, "--loop=uvloop", *without(NO_LOOP))


@nox.session(python=NEWEST, requires=["build"])
def debug(session: nox.Session) -> None:
    """Python's development mode (``-X dev``) and asyncio's debug mode, also in what the tests start."""
    # An option would reach neither pytest-xdist's workers nor the tests' own processes; the environment does.
    modes = {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}
    run(session, "--asyncio-debug", *without(NO_LOOP), env=modes)


def without(tests: tuple[str, ...]) -> list[str]:
    """Options that leave these out."""
    return [f"--ignore=tests/{name}" for name in tests]


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the documentation, English and Spanish, into docs/_build/html; a warning is an error."""
    html = ROOT / "docs" / "_build" / "html"
    for language, folder in (("en", html), ("es", html / "es")):
        sphinx(session, "-W", "--keep-going", "-D", f"language={language}", to=folder)
    session.log(f"file://{html}/index.html")


@nox.session(python=False)
def translate(session: nox.Session) -> None:
    """Bring the Spanish catalogues up to date with the pages; what they lack is then to be filled in."""
    session.run(sys.executable, str(ROOT / "docs" / "catalogues.py"))


@nox.session(python=False)
def links(session: nox.Session) -> None:
    """Ask every link that leads out of the documentation whether it is there; this needs the network."""
    sphinx(session, "-b", "linkcheck", to=ROOT / "docs" / "_build" / "links")


def sphinx(session: nox.Session, *options: str, to: Path) -> None:
    """Build the documentation into this folder."""
    doctrees = ROOT / "docs" / "_build" / "doctrees" / to.name
    command = (sys.executable, "-m", "sphinx", "-q", *options, "-d", str(doctrees))
    session.run(*command, str(ROOT / "docs"), str(to))


def run(session: nox.Session, *options: str, env: dict[str, str] | None = None) -> None:
    """Install the wheel and run the sdist's tests where no source lies beside them."""
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    session.install(f"tusfacturas-async[test] @ {wheel.as_uri()}")
    unpacked = Path(session.create_tmp()) / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked.parent, filter="data")
    shutil.rmtree(unpacked / "tusfacturas_async")
    session.chdir(unpacked)
    # The work tree must not come first, whatever this shell has set.
    session.run("pytest", "-n4", *options, *session.posargs, env={**(env or {}), "PYTHONPATH": ""})
