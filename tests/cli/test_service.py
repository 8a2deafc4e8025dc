"""Which service and which point of sale: by the environment, a file, a profile, an option; a free check."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli import preloaded
from tests.cli.helpers import COMMAND, counting, environment, printed, written
from tusfacturas_async.cli.app import run
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

NAMES = ("BASE_URL", "APIKEY", "APITOKEN", "USERTOKEN")


@pytest.fixture
def kept(served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The served sandbox's variables in a file, as ``sandbox serve`` prints them; not in the environment."""
    lines = [f"export TUSFACTURAS_{name}={os.environ[f'TUSFACTURAS_{name}']}" for name in NAMES]
    for name in NAMES:
        monkeypatch.delenv(f"TUSFACTURAS_{name}")
    path = tmp_path / "shop.env"
    path.touch(mode=0o600)
    path.write_text("# a shop\n" + "\n".join(lines) + "\n")
    return path


def test_a_file_has_the_credentials(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As shells write it, with or without quotation marks; a file that others can read is warned of."""
    assert run(["check"]) == 2
    assert "TUSFACTURAS_APIKEY" in capsys.readouterr().err
    assert "takes these credentials" in printed(capsys, "check", "--env-file", str(kept))
    kept.write_text(kept.read_text().replace("APITOKEN=sandbox-apitoken", "APITOKEN = 'sandbox-apitoken'  "))
    kept.chmod(0o644)
    assert run(["--env-file", str(kept), "check"]) == 0
    assert f"chmod 600 {kept}" in capsys.readouterr().err


def test_a_profile_is_such_a_file_with_a_name(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In the user's folder for configuration; another name is refused with those that there are."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "tusfacturas").mkdir(parents=True)
    kept.rename(tmp_path / "config" / "tusfacturas" / "shop.env")
    assert "takes these credentials" in printed(capsys, "--profile", "shop", "check")
    for wrong in ("other", "../tusfacturas/shop"):
        assert run(["--profile", wrong, "check"]) == 2
        assert "there are: shop" in capsys.readouterr().err
    assert run(["--profile", "shop", "--env-file", "x", "check"]) == 2
    assert "one of the two" in capsys.readouterr().err


def test_credentials_come_from_one_place_alone(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of a file and half of the environment would bill another point of sale."""
    kept.write_text("\n".join(kept.read_text().splitlines()[:-1]))
    monkeypatch.setenv("TUSFACTURAS_USERTOKEN", "another-shop's")
    assert run(["check", "--env-file", str(kept)]) == 2
    assert "TUSFACTURAS_USERTOKEN" in capsys.readouterr().err


def test_a_check_that_fails_is_one(
    served: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, without a secret in it."""
    monkeypatch.setenv("TUSFACTURAS_APITOKEN", "a-token-of-nobody")
    assert run(["check"]) == 1
    told = capsys.readouterr().err
    assert "denies access" in told
    assert "a-token-of-nobody" not in told


def test_the_options_of_every_command(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--base-url`` before the environment, ``--timeout`` for each attempt, before and after the command."""

    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and answers nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert run(["lookup", "a", "--base-url", url, "--timeout", "0.05"]) == 1
    assert "the attempt's time was up" in capsys.readouterr().err
    assert run(["--timeout", "0", "lookup", "pedido-1"]) == 2
    assert run(["lookup", "pedido-1", "--timeout", "5"]) == 0


def test_a_sandbox_tells_its_webhooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``sandbox serve --webhook``: each accepted voucher arrives at the URL, its token with it."""
    environment = {**os.environ, "TUSFACTURAS_WEBHOOK_TOKEN": "ours"}
    one = written(tmp_path, "pedido-1\n")
    receive = [*COMMAND, "webhooks", "serve", "--port", "0", "--inbox", str(tmp_path / "inbox")]
    with preloaded.Popen(receive, stdout=subprocess.PIPE, text=True, env=environment) as receiver:
        assert receiver.stdout is not None
        hook = re.findall(r"http://\S+/", receiver.stdout.readline())[0]
        serve = [*COMMAND, "sandbox", "serve", one, "--port", "0", "--webhook", hook]
        with preloaded.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment) as sandbox:
            assert sandbox.stdout is not None
            lines = [sandbox.stdout.readline().removeprefix("export ").strip() for _ in range(4)]
            variables = dict(line.split("=", 1) for line in lines)
            command = [*COMMAND, "reprocess", one, "--yes"]
            preloaded.run(command, env={**environment, **variables}, check=True, capture_output=True)
            assert "encolado  pedido-1" in receiver.stdout.readline()
            sandbox.send_signal(signal.SIGINT)
        receiver.send_signal(signal.SIGINT)


def test_a_sandbox_tells_how_python_calls_it(tmp_path: Path) -> None:
    """What is printed can be pasted whole into a shell; the line for Python leads there, too."""
    serve = [*COMMAND, "sandbox", "serve", written(tmp_path, "pedido-1\n"), "--port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as sandbox:
        assert sandbox.stdout is not None
        lines = [sandbox.stdout.readline()]
        while "Ctrl-C" not in lines[-1]:
            lines.append(sandbox.stdout.readline())
        made = "".join(re.findall("# Python: (.*)\n", "".join(lines)))
        program = (
            "import asyncio, os\nfrom tusfacturas_async import AsyncClient, Credentials\n"
            f"async def main():\n async with {made} as client:\n  return await client.reprocess('pedido-1')\n"
            "print(asyncio.run(main()).outcome)"
        )
        shell = "".join([*lines, f"{shlex.quote(COMMAND[0])} -c {shlex.quote(program)}\n"])
        done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False)
        sandbox.send_signal(signal.SIGINT)
    assert (done.stdout, done.stderr) == ("accepted\n", "")


def test_check_says_whose_credentials_are_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Free of charge; those that are not are status 1, missing ones status 2."""
    with counting([]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        told = printed(capsys, "check")
        where = f"127.0.0.1, point of sale {SANDBOX_CREDENTIALS.fingerprint}:"
        assert told.startswith(f"{where} the service takes these credentials")
        assert (server.lookups, server.resends) == (1, [])
        assert not any(getattr(SANDBOX_CREDENTIALS, name) in told for name in ("apitoken", "usertoken"))
    monkeypatch.delenv("TUSFACTURAS_APIKEY")
    assert run(["check"]) == 2
    assert "TUSFACTURAS_APIKEY" in capsys.readouterr().err


def test_another_service(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``--base-url`` goes before the variable."""
    with counting(["a"]) as server, counting([]) as other:
        for name, value in environment(other.url).items():
            monkeypatch.setenv(name, value)
        assert printed(capsys, "lookup", "a", "--base-url", server.url).startswith("a\t")
        assert other.heads == []
