"""`signer token` on each kind of token: a worker loads the module and finds the token."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from signer.errors import TokenError
from signer.hsm.keys import identity_key, receiving_key
from signer.messages.card import Card
from tests.modules.bench import Bench

pytestmark = pytest.mark.other_process


def token(bench: Bench, command: str, *options: str) -> str:
    """Run `signer token COMMAND` on this token; return what it says.

    Raises:
        TokenError: it ended with status 7; with its code.
    """
    profile = ("--profile", bench.under.profile_name, "--module", str(bench.under.path))
    chosen = ("--token", bench.label, "--pin-file", str(bench.pin_file().path))
    done = subprocess.run(
        [sys.executable, "-m", "signer", "token", command, *profile, *chosen, *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 7:
        told = re.search(r"^(E_\w+): ", done.stderr, re.MULTILINE)
        assert told, done.stderr
        raise TokenError(done.stderr, code=told[1])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("ecdsa-p256", "own-method")
def test_setup_and_card(bench: Bench, tmp_path: Path) -> None:
    assert "made id-sign" in token(bench, "setup")
    assert "id-sign was there" in token(bench, "setup")
    place = tmp_path / "card.json"
    token(bench, "card", "--name", "Ada", "--out", str(place))
    card = Card.parse(json.loads(place.read_text()))
    assert card.body.proven is bench.profile.proven
    with bench.session() as session:
        assert card.body.id_sign == identity_key(session).public_point
        assert card.body.kex == receiving_key(session).public_point
