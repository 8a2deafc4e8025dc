"""Help, errors and the manual, in English and in Spanish; completion for the shells."""

from __future__ import annotations

import errno
import inspect
import io
import os
import re
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.cli import preloaded
from tests.cli.helpers import COMMAND, EXAMPLES, printed, status, terminal
from tusfacturas_async import RejectedError, TusFacturasError, __version__, errors
from tusfacturas_async.cli.app import _COMMANDS, build, launch, run
from tusfacturas_async.cli.reasons import reason
from tusfacturas_async.cli.spanish import DOCS
from tusfacturas_async.cli.texts import choose, language
from tusfacturas_async.errors import PartialDeletionError, ServiceError, WebhookError
from tusfacturas_async.models import SECRETS

BASH = shutil.which("bash") or "bash"
PATHS = ["", *_COMMANDS]
FOREIGN = re.compile(
    r"(?<![-\w])(Usage|Options|Commands|Arguments|default|required|Show|the|voucher|Do not|send|status 1 "
    r"|FILE|PROFILE|NAME|REFERENCES?|SINCE|TEXTS|UNTIL)\b"
)


def errors_of_the_package() -> list[type[TusFacturasError]]:
    """Those of one voucher or of all, less those that hold the service's own words or a webhook's."""
    own = {TusFacturasError, ServiceError, RejectedError, PartialDeletionError}
    found = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, TusFacturasError)
    }
    named = {
        each for each in found if not each.__name__.startswith("_") and not issubclass(each, WebhookError)
    }
    return sorted(named - own, key=lambda each: each.__name__)


def parts(doc: str | None) -> set[str]:
    """The names of what is told one by one; Python 3.13 has taken the indentation away already."""
    return set(re.findall(r"^ {4}(\w+):", inspect.cleandoc(doc or ""), re.MULTILINE))


@pytest.mark.parametrize("function", [launch, *_COMMANDS.values()], ids=lambda each: each.__name__)
def test_the_spanish_help_has_the_same_parts(function: object) -> None:
    """Every option of every command is told in both languages."""
    assert parts(DOCS[function.__name__]) == parts(function.__doc__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", PATHS)
def test_help_in_both_languages(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither language shows the other's words, nor an option that nobody can want, nor an empty default."""
    for tongue in ("en", "es"):
        told = printed(capsys, *path.split(), "--help", "--lang", tongue)
        assert "--empty-" not in told
        assert "--no-" not in told
        assert "default: ()" not in told
        assert bool(FOREIGN.search(told)) == (tongue == "en")
        assert re.search(r" (STR|INT|FLOAT|PATH)\b", told) is None
        assert re.search(r"(YYYY|AAAA)-MM-\n", told) is None  # broken as a word would be
        assert ("--lang TEXTO" in told, "--lang TEXT " in told) == (tongue == "es", tongue == "en")
        assert language() == tongue


def test_examples_in_the_help_run_as_they_stand(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line after ``$`` is a command that this version takes; those that serve are only parsed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    profile = tmp_path / ".config" / "tusfacturas" / "shop.env"
    profile.parent.mkdir(parents=True)
    profile.write_text("".join(f"{name}={os.environ[name]}\n" for name in SECRETS.values()))
    profile.chmod(0o600)
    shutil.copy(EXAMPLES / "references.txt", tmp_path)
    examples = [
        line.strip().removeprefix("$ ")
        for function in _COMMANDS.values()
        for line in (function.__doc__ or "").splitlines()
        if line.strip().startswith("$ ")
    ]
    assert len(examples) > 15
    for example in examples:
        if re.search(r" serve | fleet |--inbox", example):
            build().parse_args(re.sub(r"^.*tusfacturas | > \S+$", "", example), exit_on_error=False)
            continue
        line = re.sub(r" > \S+", " > /dev/null", example)
        shell = f'tusfacturas() {{ "$PYTHON" -m tusfacturas_async "$@"; }}; {line}'
        if "reprocess" in line or "change-date" in line:
            shell += " --yes"
        environment = {**os.environ, "PYTHON": COMMAND[0]}
        done = subprocess.run(
            [BASH, "-c", shell], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 1}, (line, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "english", "spanish"),
    [
        (
            ["reproces"],
            "no command reproces: did you mean reprocess",
            "no existe el comando reproces: ¿quisiste",
        ),
        (
            ["errored", "ayer"],
            "SINCE: ayer is not a date: write YYYY-MM-DD",
            "DESDE: ayer no es una fecha: va AAAA-MM-DD",
        ),
        (["reprocess", "--until", "18/3"], "--until: 18/3 is not a date", "--until: 18/3 no es una fecha"),
        (
            ["reprocess", "--jornal", "x"],
            "no option --jornal: did you mean --journal",
            "¿quisiste decir --journal",
        ),
        (["reprocess", "--jsonn"], "no option --jsonn", "no existe la opción --jsonn"),
        (
            ["reprocess", "x", "--concurrency", "many"],
            "--concurrency: many is not a whole number",
            "--concurrency: many no es un número entero",
        ),
        (["check", "--timeout", "long"], "--timeout: long is not a number", "long no es un número"),
        (["completion", "tcsh"], "SHELL cannot be tcsh", "SHELL no puede ser tcsh"),
        (["reprocess", "x", "--journal"], "--journal is missing", "falta --journal"),
        (["delete"], "REFERENCE is missing", "falta REFERENCIA"),
        (["delete", "a", "2026-03-18", "b"], "what to do with b", "qué hacer con b"),
        (
            ["reprocess", "x", "--column", "a", "--column", "b"],
            "--column is given twice",
            "--column está dos veces",
        ),
        (["reprocess", "no-such"], "cannot read no-such", "no se puede leer no-such"),
        (["check"], "set the environment variables TUSFACTURAS_APIKEY", "faltan las variables de entorno"),
        (["reprocess", "no-such"], "no-such: No such file or directory", "no-such: no existe"),
        (["reprocess", "/"], "/: Is a directory", "/: es una carpeta"),
        (
            ["sandbox", "x"],
            "no command x; the commands: serve",
            "no existe el comando x; los comandos: serve",
        ),
        (
            ["webhooks", "serve", "--port", "99999"],
            "--port is out of its range",
            "--port está fuera de rango",
        ),
        (["check", "--timeout", "nan"], "--timeout is out of its range", "--timeout está fuera de rango"),
        (
            ["reprocess", "x", "--interval", "nan"],
            "--interval is out of its range",
            "--interval está fuera de rango",
        ),
        (
            ["reprocess", "x", "--wait-maintenance", "-1"],
            "--wait-maintenance is out of its range",
            "--wait-maintenance está fuera de rango",
        ),
        (
            ["errored", "2026-03-18", "2026-03-17"],
            "the last date comes before the first",
            "la última fecha es anterior a la primera",
        ),
        (
            ["reprocess", "a.txt", "--until", "2026-03-17"],
            "--until needs --errored-since",
            "--until necesita --errored-since",
        ),
        (
            ["reprocess", "--errored-since", "2026-03-18", "--until", "2026-03-17"],
            "the last date comes before the first",
            "la última fecha es anterior a la primera",
        ),
        (
            ["change-date", "a", "2026-03-18", "2026-03-17"],
            "VENCIMIENTO comes before FECHA",
            "VENCIMIENTO es anterior a FECHA",
        ),
        (
            ["fleet", "status"],
            "variable TUSFACTURAS_DATABASE",
            "falta la variable de entorno TUSFACTURAS_DATA",
        ),
        (["--lang", "es", "--timeout", "-1", "check"], "", "--timeout está fuera de rango"),
    ],
)
def test_usage_errors_in_both_languages(
    arguments: list[str],
    english: str,
    spanish: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one line, with what is near to what was written."""
    for name in ("APIKEY", "APITOKEN", "USERTOKEN", "DATABASE"):
        monkeypatch.delenv(f"TUSFACTURAS_{name}", raising=False)
    told = []
    for tongue in ("en", "es"):
        assert run([*arguments, *(() if "--lang" in arguments else ("--lang", tongue))]) == 2
        told.append(capsys.readouterr().err)
    assert english in told[0]
    assert spanish in told[1]
    assert [len(each.splitlines()) for each in told] == [1, 1]


@pytest.mark.parametrize("words", [["--debug"], ["--lang", "es"], ["--lang=es"], ["--timeout", "5"]])
def test_options_of_every_command_stand_anywhere(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no FILE is given, which may begin with a hyphen; behind ``--`` stands what is no option."""
    for name in ("APIKEY", "APITOKEN", "USERTOKEN"):
        monkeypatch.delenv(f"TUSFACTURAS_{name}", raising=False)
    for arguments in (["--errored-since", "2026-03-18"], ["-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"pedido-1\n")))
        assert run(["reprocess", *arguments, *words]) == 2
        assert "TUSFACTURAS_APIKEY" in capsys.readouterr().err
    assert run(["reprocess", "--", *words[:1]]) == 2
    assert words[0] in capsys.readouterr().err


def test_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What many type first: the help."""
    assert run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: tusfacturas COMMAND")


def test_plurals_in_spanish(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of one, and of many."""
    run(["--lang", "es", "reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0"])
    assert (
        "30 comprobantes: 26 aceptados, 4 no encontrados; llamadas facturadas: 30" in capsys.readouterr().err
    )
    (tmp_path / "one").write_text("pedido-1001\n")
    run(["--lang", "es", "reprocess", str(tmp_path / "one"), "--sandbox"])
    assert "1 comprobante: 1 aceptado; llamadas facturadas: 1" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [*errors_of_the_package()], ids=lambda each: each.__name__)
def test_reasons_in_spanish(kind: type[TusFacturasError]) -> None:
    """Every error that a result or a stop can carry; the service's own texts stay as they came."""
    choose("es")
    told = reason(kind("in English"))
    assert told != "in English"
    assert reason(RejectedError("no", errores=("Fecha inválida",))) == "no"
    choose("en")
    assert reason(kind("in English")) == "in English"


def test_what_the_system_says_in_spanish() -> None:
    """What is common of an error of the system is told, and a value that the package refuses."""
    taken = OSError(errno.EADDRINUSE, "Address already in use")
    assert reason(taken) == str(taken)
    choose("es")
    assert reason(taken) == f"el puerto está ocupado ({taken})"
    assert reason(ValueError("base_url")) == "un valor no se puede usar (base_url)"
    choose("en")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The package's own."""
    assert printed(capsys, "--version") == f"{__version__}\n"


@pytest.mark.parametrize(("shell", "check"), [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")])
def test_completion(shell: str, check: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A script that names commands and options, and that the shell itself reads, where it is installed."""
    script = printed(capsys, "completion", shell)
    for word in ("reprocess", "change-date", "errored-since", "show"):
        assert word in script
    (tmp_path / "script").write_text(script)
    if program := shutil.which(check):
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source ../_tusfacturas"),
    "zsh": (["-f", "-i"], "fpath=($PWD/.. $fpath); autoload -U compinit; compinit -u -D"),
}
"""How a person's shell starts, and what its owner has it read."""


@pytest.mark.parametrize("shell", SHELLS)
def test_tab(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The Tab key completes commands, options and files, in a folder with files named as they are."""
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "_tusfacturas").write_text(printed(capsys, "completion", shell))
    (tmp_path / "work" / "deep").mkdir(parents=True)
    for name in ("results.csv", "show.txt", "deep/inner.txt"):
        (tmp_path / "work" / name).touch()
    options, prepare = SHELLS[shell]
    person = pexpect.spawn(
        program,
        options,
        cwd=tmp_path / "work",
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=30,
        dimensions=(40, 200),
    )
    person.sendline(f"{prepare}; tusfacturas() {{ echo \"<$*>\"; }}; echo be''gun")
    person.expect("begun\r\n")
    for typed, completed in (
        ("re", "reprocess"),
        ("--lang es cha", "--lang es change-date"),
        ("journal sh", "journal show"),
        ("reprocess --out", "reprocess --output"),
        ("reprocess resu", "reprocess results.csv"),
        ("lookup --file resu", "lookup --file results.csv"),
        ("reprocess dee\tin", "reprocess deep/inner.txt"),
    ):
        person.send(f"tusfacturas {typed}\t\r")
        person.expect(r"<([^>\"$]*)>\r\n")
        assert person.match[1].strip() == completed
    person.sendline("exit")
    person.expect(pexpect.EOF)
    person.close()


def test_fish_completes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It offers commands alone where one must stand, files where one may, and speaks Spanish."""
    if (program := shutil.which("fish")) is None:
        pytest.skip("there is no fish here")
    (tmp_path / "script").write_text(printed(capsys, "--lang", "es", "completion", "fish"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "results.csv").touch()
    for typed, offered in (
        ("re", ["reprocess"]),
        ("--lang es cha", ["change-date"]),
        ("journal ", ["show"]),
        ("reprocess resu", ["results.csv"]),
        ("reprocess --hel", ["--help\tMostrar esta ayuda."]),
    ):
        ask = f"source ../script; complete -C 'tusfacturas {typed}'"
        command = [program, "--no-config", "-c", ask]
        done = subprocess.run(command, cwd=tmp_path / "work", capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        assert [line.split("\t")[0] for line in lines] == [each.split("\t")[0] for each in offered]
        assert all(line.startswith(each) for line, each in zip(lines, offered, strict=True))


def test_the_manual(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Roff with every command and option, in both languages; groff reads it without a warning."""
    for tongue, name in (("en", "NAME"), ("es", "NOMBRE")):
        page = printed(capsys, "--lang", tongue, "manual")
        assert page.startswith(f'.TH TUSFACTURAS 1 "" "tusfacturas-async {__version__}"\n.SH {name}\n')
        for path in _COMMANDS:
            assert f'.SH "TUSFACTURAS {path.upper()}"' in page
        assert r"\-\-errored\-since" in page
        if groff := shutil.which("groff"):
            command = [groff, "-man", "-Tutf8", "-Kutf8", "-ww", "-z"]
            done = preloaded.run(command, input=page, capture_output=True, text=True, check=True)
            assert done.stderr == ""


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """``NO_COLOR`` is heeded on a terminal; what moves the cursor for the bar is no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    person = terminal("reprocess", str(EXAMPLES / "references.txt"), "--sandbox", "--interval", "0")
    person.expect("30 vouchers")
    said = person.before
    assert status(person) == 1
    colours = re.findall(r"\x1b\[[0-9;]*m", said)
    assert not [code for code in colours if re.search(r"[\[;](3[0-7]|9[0-7]|4[0-7]|38)\b", code)]


@pytest.mark.parametrize(
    ("stdout", "code", "told"), [("| head -1", 0, ""), ("> /dev/full", 3, "No space left on device")]
)
def test_a_help_that_is_cut_short(stdout: str, code: int, told: str) -> None:
    """``| head`` is no error, a full disk is one; neither is a traceback."""
    done = subprocess.run(
        ["/bin/bash", "-c", f'set -o pipefail; "$@" {stdout}', "-", *COMMAND, "reprocess", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, told in done.stderr, len(done.stderr.splitlines()) <= 1) == (code, True, True)
