"""`signer completion`: the scripts are the shells', the words are real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from signer.cli.main import _COMMANDS
from tests.conftest import unavailable

SIGNER = Path(sys.executable).with_name("signer")


def script(shell: str) -> str:
    done = subprocess.run(
        [SIGNER, "completion", shell], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout


def completions(*words: str) -> list[str]:
    """Ask as the script of bash does: all but the last word are whole."""
    environment = os.environ | {
        "_SIGNER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("signer", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [SIGNER], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    text = script(shell)
    assert f"_SIGNER_COMPLETE={shell}_complete" in text
    assert "signer" in text


def test_every_command_is_completed() -> None:
    assert set(completions("")) == set(_COMMANDS)
    assert completions("comp") == ["completion"]
    assert {"run", "status"} <= set(completions("agent", ""))
    assert "--config" in completions("doctor", "--")
    assert {"--module", "--with-token-keys", "--seconds"} <= set(
        completions("token", "probe", "--")
    )
    assert "--final-try" in completions("token", "setup", "--")
    assert "--final-try" not in completions("token", "probe", "--")  # it never spends one
    assert completions("token", "probe", "--profile", "yubik") == ["yubikey-piv"]
    assert set(completions("completion", "")) == {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        unavailable(f"no {shell} on this machine")
    done = subprocess.run(
        [program, "-n"], input=script(shell), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_with_it() -> None:
    bash = shutil.which("bash")
    if bash is None:
        unavailable("no bash on this machine")
    code = (
        'eval "$(signer completion bash)"\n'
        "COMP_WORDS=(signer dri); COMP_CWORD=1\n"
        "_signer_completion signer\n"
        'echo "${COMPREPLY[*]}"\n'
        "complete -p signer\n"
    )
    environment = os.environ | {"PATH": f"{SIGNER.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", code], env=environment, capture_output=True, text=True,
        check=True, timeout=30,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first == "drill"
    assert "_signer_completion" in second


@pytest.mark.case("X348", "completion for a shell that there is not, or for none")
@pytest.mark.parametrize("shell", [["tcsh"], []])
def test_an_unknown_shell_is_a_usage_error(shell: list[str]) -> None:
    done = subprocess.run(
        [SIGNER, "completion", *shell], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("E_USAGE")
    assert done.stderr.count("\n") == 1
    assert "\\" not in done.stderr
    assert "bash" in done.stderr
