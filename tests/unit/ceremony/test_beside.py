"""What lies beside a certificate is told of by what is wrong with it, if anything is."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from signer.ceremony.beside import problem_beside
from signer.ceremony.board import Board
from signer.messages.dsse import SignedFile
from signer.strict import canonical
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import NOW
from tests.unit.ceremony.honest import dkg, dkg_files, reshare, reshare_files

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def board() -> Board:
    return dkg().board(dkg_files())


@pytest.fixture(scope="module")
def anew() -> Board:
    return reshare().board(reshare_files())


def turned(raw: bytes) -> bytes:
    """Return a file under the other signature that verifies just as well: (r, n - s)."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict) and "sig" in value:
            signature = base64.b64decode(value["sig"])
            s = P256_ORDER - int.from_bytes(signature[32:])
            return value | {"sig": base64.b64encode(signature[:32] + s.to_bytes(32)).decode()}
        if isinstance(value, dict):
            return {name: walk(entry) for name, entry in value.items()}
        return [walk(entry) for entry in value] if isinstance(value, list) else value

    other = canonical(walk(json.loads(raw)))
    assert other != canonical(json.loads(raw))
    return other


def text(signed: SignedFile) -> bytes:
    return canonical(signed.to_json())


@pytest.mark.case("X1021", "statement with the other signature, (r, n - s), beside its certificate")
@pytest.mark.parametrize("name", ["deal-01.json", "agree-02.json"])
def test_the_same_statement_under_another_signature(board: Board, name: str) -> None:
    assert problem_beside(board, name, turned(dkg_files()[name])) is None


@pytest.mark.case("X1021", "a reshare's statement with the other signature, (r, n - s)")
@pytest.mark.parametrize("name", ["bindings-01.json", "agree-dealer-02.json", "deal-02-b.json"])
def test_the_same_statement_in_a_reshare(anew: Board, name: str) -> None:
    raw = reshare_files()[name.replace("-b.json", ".json")]
    assert problem_beside(anew, name, turned(raw)) is None


def elsewhere() -> Gathering:
    roster = replace(dkg().setting.roster, nonce=b"\1" * 32)
    return Gathering(replace(dkg().setting, roster=roster), dkg().members, dkg().dealers)


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def changed(raw: bytes) -> bytes:
    """Return a deal with another ciphertext than was signed for."""
    value = json.loads(raw)
    value["ciphertexts"].reverse()
    return canonical(value)


@pytest.mark.case("X1022", "file of another ceremony or person, or damaged, beside a certificate")
def test_each_file_has_its_own_code(board: Board) -> None:
    files, other, second = dkg_files(), elsewhere(), dkg().deal(1, moment=NOW + 1)
    stray = text(dkg().agreement("member", 2, transcript=bytes(32)))
    for name, raw, code in (
        ("deal-01.json", other.deal(1).to_bytes(), "E_DEAL_CEREMONY"),
        ("deal-01-b.json", files["deal-02.json"], "E_DEAL_SIGNATURE"),
        ("deal-01.json", changed(files["deal-01.json"]), "E_DEAL_CIPHERTEXTS"),
        ("deal-01.json", flipped(files["deal-01.json"], 3), "E_SCHEMA"),
        ("deal-01.json", b"", "E_SCHEMA"),
        ("deal-77.json", files["deal-01.json"], "E_CEREMONY"),
        ("deal-01-late.json", second.to_bytes(), "E_TRANSCRIPT"),
        ("deal-01.json", dkg().deal(1, commitments=()).to_bytes(), "E_TRANSCRIPT"),
        ("agree-01.json", text(other.agreement("member", 1)), "E_CEREMONY"),
        ("agree-01.json", files["agree-02.json"], "E_SIGNATURE"),
        ("agree-02.json", stray, "E_TRANSCRIPT"),
        ("agree-77.json", files["agree-01.json"], "E_CEREMONY"),
        ("agree-01.json", flipped(files["agree-01.json"], 3), "E_SCHEMA"),
        ("bindings-01.json", reshare_files()["bindings-01.json"], "E_BINDINGS"),
        ("agree-.json", files["agree-01.json"], "E_TRANSCRIPT"),
    ):
        problem = problem_beside(board, name, raw)
        assert problem is not None, (name, code)
        assert (problem.file, problem.code) == (name, code), problem


@pytest.mark.case("X1022", "bindings of another person, or stated again, beside a certificate")
def test_bindings_have_their_own_code(anew: Board) -> None:
    files = reshare_files()
    for raw, code in (
        (files["bindings-02.json"], "E_BINDINGS"),
        (text(reshare().bindings(1, sequence=9)), "E_TRANSCRIPT"),
        (b"junk", "E_SCHEMA"),
    ):
        problem = problem_beside(anew, "bindings-01.json", raw)
        assert problem is not None
        assert problem.code == code
