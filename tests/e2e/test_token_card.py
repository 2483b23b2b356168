"""`signer token card` on a real token: a key for each ceremony, a spare, an attestation."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from signer.hsm.profile import load_profile
from signer.messages.card import Attestation, Card, fingerprint
from signer.messages.confirmation import twelve_words
from signer.sealing.envelope import key_fingerprint
from signer.testing.pool import Holder, Pool, summary
from signer.testing.softhsm import USER_PIN, SoftHSM

pytestmark = pytest.mark.softhsm


@dataclasses.dataclass
class Desk:
    """One holder with a token that is set up."""

    folder: Path
    pool: Pool
    holder: Holder

    def run(
        self, *arguments: str | Path, token: str = "desk", expect: int = 0, code: str = ""
    ) -> dict[str, Any]:
        """Run `signer token …`; return what it printed, or see that it failed with `code`."""
        options = ("--token", token, "--pin-file", self.holder.token.pin_file, "--json")
        done = self.pool.run("token", *arguments, *options, holder=self.holder, expect=expect)
        if expect == 0:
            return summary(done)
        assert code in done.stderr
        assert USER_PIN not in done.stderr
        return {"error": done.stderr}

    def card(self, name: str, *options: str | Path, **words: Any) -> Card:
        """Make a card that succeeds, and verify it here."""
        out = self.folder / f"{name}.json"
        self.run("card", "--name", "Ada", "--out", out, *options, **words)
        return Card.parse_file(out.read_bytes(), name)

    def refused(self, code: str, expect: int, *options: str | Path, **words: Any) -> str:
        """Make a card that fails; return the words on the screen."""
        out = self.folder / "refused.json"
        said = self.run("card", "--name", "Ada", "--out", out, *options,
                        expect=expect, code=code, **words)  # fmt: skip
        assert not out.exists()
        return str(said["error"])

    def keys(self) -> list[str]:
        """Return the fingerprints of the receiving keys, as a refused card lists them."""
        said = self.refused("E_TOKEN_KEY", 7, "--kex", "0" * 16)
        listed = said.partition("is 0000000000000000: ")[2].partition(" — ")[0]
        return sorted(listed.split(", "))


@pytest.fixture
def desk(softhsm_here: None, tmp_path: Path) -> Desk:
    token = SoftHSM.create(tmp_path / "token", "desk")
    made = Desk(tmp_path, Pool(tmp_path), Holder(1, "Ada", tmp_path, token))
    made.run("setup")
    return made


def test_what_is_printed(desk: Desk) -> None:
    out = desk.folder / "card.json"
    said = desk.run("card", "--name", "Ada", "--out", out)
    card = Card.parse_file(out.read_bytes(), "card")
    assert said == {
        "card": str(out),
        "name": "Ada",
        "fingerprint": fingerprint(card.digest),
        "words": twelve_words(card.digest),
        "kex": key_fingerprint(card.body.kex),
        "kex_backup": None,
        "key_backup": "possible",
        "software": True,
        "ceremony": True,
        "proven": True,
    }
    assert len(said["words"].split()) == 12
    assert (card.body.software, card.body.key_backup) == (True, "possible")
    assert card.body.attestation is None


def test_a_key_for_each_ceremony(desk: Desk) -> None:
    first = desk.card("first")
    fresh = [desk.card(f"fresh-{number}", "--fresh-key") for number in range(2)]
    cards = [first, *fresh]
    assert len({card.body.kex for card in cards}) == 3
    assert len({card.body.epoch_nonce for card in cards}) == 3
    assert {card.body.id_sign for card in cards} == {first.body.id_sign}
    assert desk.keys() == sorted(key_fingerprint(card.body.kex) for card in cards)
    for number, card in enumerate(cards):
        shown = key_fingerprint(card.body.kex)
        for form in (shown, shown.replace(" ", "").upper()):
            again = desk.card(f"again-{number}-{len(form)}", "--kex", form)
            assert again.body.kex == card.body.kex
    assert set(desk.run("setup")["present"]) == {"id-sign", "epoch-kex"}


@pytest.mark.case("X614", "several receiving keys and none chosen, or one that is not there")
def test_nothing_is_guessed(desk: Desk) -> None:
    first, fresh = desk.card("first"), desk.card("fresh", "--fresh-key")
    said = desk.refused("E_TOKEN_KEY", 7)
    assert "2 receiving keys and nothing tells which is meant" in said
    for card in (first, fresh):
        assert key_fingerprint(card.body.kex) in said
    assert "none is 0123456789abcdef" in desk.refused("E_TOKEN_KEY", 7, "--kex", "0123456789abcdef")


@pytest.mark.case(
    "X615", "card's file is there already, or its folder is not: no key is made for it"
)
def test_no_key_is_made_in_vain(desk: Desk) -> None:
    desk.card("first")
    before = desk.keys()
    desk.run("card", "--name", "Ada", "--out", desk.folder / "first.json", "--fresh-key",
             expect=1, code="E_OUTPUT")  # fmt: skip
    desk.run("card", "--name", "Ada", "--out", desk.folder / "nowhere" / "c.json", "--fresh-key",
             expect=1, code="E_OUTPUT")  # fmt: skip
    desk.refused("E_USAGE", 2, "--fresh-key", "--kex", before[0])
    desk.refused("E_USAGE", 2, "--kex", "0123")
    assert desk.keys() == before


def test_a_spare_and_an_attestation(desk: Desk) -> None:
    desk.holder.token.initialise("spare")
    desk.run("setup", token="spare")
    spare = desk.card("spare", token="spare")
    certificate = desk.folder / "certificate.der"
    certificate.write_bytes(b"\x30\x03abc")
    card = desk.card(
        "both", "--spare-card", desk.folder / "spare.json",
        "--attestation", certificate, "--attestation-kind", "yubico-piv",
    )  # fmt: skip
    assert card.body.kex_backup == spare.body.kex
    assert card.body.attestation == Attestation("yubico-piv", (b"\x30\x03abc",))


@pytest.mark.case("P4", "spare's card of the same token, or altered")
def test_a_spare_that_is_none(desk: Desk) -> None:
    desk.card("own")
    own = desk.folder / "own.json"
    fresh = desk.card("fresh", "--fresh-key")
    chosen = ("--kex", key_fingerprint(fresh.body.kex))
    assert "of this very token" in desk.refused("E_CARD", 1, *chosen, "--spare-card", own)
    altered = desk.folder / "altered.json"
    altered.write_bytes(own.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    said = desk.refused("E_SCHEMA", 1, *chosen, "--spare-card", altered)
    assert "altered.json" in said


@pytest.mark.case("X616", "spare's claims are weaker than the token's own: the weaker ones count")
def test_the_weaker_token_counts(desk: Desk) -> None:
    strong = write_profile(desk.folder, software="false", key_backup="impossible")
    assert not desk.card("alone", "--profile", strong).body.software
    desk.holder.token.initialise("spare")
    desk.run("setup", token="spare")
    desk.card("spare", token="spare")
    body = desk.card("both", "--profile", strong, "--spare-card", desk.folder / "spare.json").body
    assert (body.software, body.key_backup) == (True, "possible")
    desk.card("strong-spare", "--profile", strong, token="spare")
    spare = ("--spare-card", desk.folder / "strong-spare.json")
    body = desk.card("strong", "--profile", strong, *spare).body
    assert (body.software, body.key_backup) == (False, "impossible")
    assert body.ceremony
    unfit = write_profile(desk.folder, ceremony="false")
    desk.card("unfit-spare", "--profile", unfit, token="spare")
    assert not desk.card(
        "both-unfit", "--spare-card", desk.folder / "unfit-spare.json"
    ).body.ceremony


def write_profile(folder: Path, **changes: str) -> Path:
    """Write SoftHSM's profile with other words in some fields."""
    values = {"ceremony": "true", "key_backup": "possible", "software": "true"} | changes
    profile = load_profile("softhsm2")
    text = (Path(__file__).parents[2] / "hsm_profiles" / "softhsm2.yaml").read_text()
    for name, value in values.items():
        old = {True: "true", False: "false"}.get(getattr(profile, name), getattr(profile, name))
        assert text.count(f"\n{name}: {old}\n") == 1
        text = text.replace(f"\n{name}: {old}\n", f"\n{name}: {value}\n")
    path = folder / f"profile-{'-'.join(values.values())}.yaml"
    path.write_text(text)
    return path


@pytest.mark.case("X611", "a kind of token with no raw ECDH or ECDSA asks for a ceremony's key")
def test_a_kind_of_token_that_is_fit_for_no_ceremony(desk: Desk) -> None:
    desk.card("first")
    before = desk.keys()
    profile = write_profile(desk.folder, ceremony="false")
    said = desk.refused("E_PROFILE", 1, "--fresh-key", "--profile", profile)
    assert "CKM_ECDH1_DERIVE" in said
    assert desk.keys() == before
    card = desk.card("ordinary", "--profile", profile)  # the desk's own job goes on
    assert not card.body.ceremony
    desk.holder.token.initialise("other")
    desk.run("setup", token="other")
    desk.run("card", "--name", "Ben", "--out", desk.folder / "ben.json", token="other")
    desk.pool.write_policy()
    for name, ended in (("ordinary", 1), ("first", 0)):
        cards = ("--card", desk.folder / "ben.json", "--card", desk.folder / f"{name}.json")
        done = desk.pool.run("ceremony", "new", "dkg", *cards, "--threshold", "2", "--policy",
                             desk.pool.policy, "--network", "mainnet", "--name", "stakers",
                             "--out", desk.folder / f"{name}-dkg", expect=ended)  # fmt: skip
        told = "E_ROSTER: roster: the token of 'Ada' cannot take part in a ceremony"
        assert done.stderr.startswith(told) == (name == "ordinary"), done.stderr


@pytest.mark.case("X610", "a token that lacks ECDH by its own list asks for a ceremony's key")
def test_a_token_that_is_fit_for_no_ceremony(desk: Desk) -> None:
    desk.card("first")
    before = desk.keys()
    config = desk.holder.token.config
    full = config.read_text()
    config.write_text(full + "slots.mechanisms = CKM_EC_KEY_PAIR_GEN,CKM_ECDSA\n")
    said = desk.refused("E_MECHANISM", 7, "--fresh-key")
    assert "CKM_ECDH1_DERIVE" in said
    config.write_text(full)
    assert desk.keys() == before
