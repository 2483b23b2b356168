"""The drafted profile: what was seen is in it, the rest says so, and our own parser reads it."""

from dataclasses import replace
from pathlib import Path

import pytest

from signer.hsm.probe.draft import UNKNOWN, draft_of
from signer.hsm.probe.draft_file import profile_text
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import STEP_NAMES, Seen
from signer.hsm.profile import DeviceProfile, load_profile, profile_names
from signer.hsm.profile_facts import Evidence
from tests.simulators.probed import REPORT, otherwise, saying, without

MODULE = Path("/opt/acme/libacme.so")


def drafted(
    report: ProbeReport,
    known: DeviceProfile | None = None,
    module: Path = MODULE,
    environment: tuple[str, ...] = (),
) -> DeviceProfile:
    """Return the draft as the strict parser reads it from the file."""
    draft = draft_of(report, module, environment, known)
    read = DeviceProfile.parse(profile_text(draft), "profile.yaml")
    assert read == draft
    return read


def evidence(profile: DeviceProfile) -> dict[str, Evidence]:
    return {entry.fact: entry for entry in profile.evidence}


def test_a_device_that_no_profile_knows() -> None:
    draft = drafted(REPORT, environment=("ACME_CONF",))
    assert draft.name == "draft-vault-9"
    assert draft.match.covers("Acme Devices", "Vault 9")
    assert not draft.match.covers("Acme Devices", "Vault 90")
    assert (draft.module_paths, draft.environment) == ((MODULE,), ("ACME_CONF",))
    assert draft.seal_methods == ("hpke-p256", "rsa-oaep-sha256", "aes-256-gcm")
    assert (draft.ceremony, draft.provenance, draft.software) == (True, "strict", False)
    assert (draft.pin_min, draft.pin_max) == (6, 64)
    assert (draft.max_sessions, draft.login, draft.data_objects) == (16, "process", True)
    seen = {fact for fact, entry in evidence(draft).items() if entry.verified == "run here"}
    assert seen == {
        "match", "modules", "seal", "ceremony", "provenance", "sessions", "objects", "quirks"
    }  # fmt: skip


def test_what_cannot_be_seen_is_cautious_and_says_so() -> None:
    draft = drafted(REPORT)
    assert (draft.key_backup, draft.pin_tries, draft.pin_lock) == ("possible", None, "silent")
    assert (draft.journal_anchor, draft.touch, draft.initialise) == ("host", "none", UNKNOWN)
    for fact in ("key_backup", "pin", "journal_anchor", "touch"):
        entry = evidence(draft)[fact]
        assert (entry.verified, entry.source) == ("documented", f"unverified: {UNKNOWN}")


def test_a_module_that_says_it_is_no_hardware_is_software() -> None:
    assert drafted(saying(REPORT, hardware_slot=False)).software


def test_the_packaged_profile_says_what_a_probe_cannot_see() -> None:
    known = load_profile("softhsm2")
    draft = drafted(REPORT, known)
    assert (draft.pin_lock, draft.software, draft.journal_anchor) == ("never", True, "token")
    assert draft.initialise == known.initialise
    assert draft.module_paths == (MODULE, *known.module_paths)
    assert drafted(REPORT, known, known.module_paths[1]).modules == known.modules
    for fact in ("key_backup", "pin", "journal_anchor", "touch"):
        entry = evidence(draft)[fact]
        assert entry.verified == "documented"
        assert entry.source.startswith("profile softhsm2: ")
    assert draft.name.startswith("draft-")


def test_methods_stand_in_the_order_of_the_packaged_profile() -> None:
    report = otherwise(REPORT, "rsa-oaep-sha256", "refused")
    assert drafted(report).seal_methods == ("hpke-p256", "rsa-oaep-sha1", "aes-256-gcm")
    known = drafted(report, load_profile("softhsm2"))
    assert known.seal_methods == ("hpke-p256", "aes-256-gcm", "rsa-oaep-sha1")


def test_an_anchor_on_the_token_needs_data_objects() -> None:
    report = otherwise(REPORT, "data-objects", "refused", code="CKR_FUNCTION_NOT_SUPPORTED")
    draft = drafted(report, load_profile("softhsm2"))
    assert (draft.data_objects, draft.journal_anchor) == (False, "host")
    assert evidence(draft)["journal_anchor"].source.startswith("unverified")


def test_lies_stand_in_the_notes() -> None:
    report = otherwise(REPORT, "p256-imported", "wrong", detail="of a key brought in: LOCAL True")
    draft = drafted(report)
    assert (draft.provenance, draft.ceremony) == ("unproven", False)
    assert "LOCAL True" in draft.notes


def test_quirks_are_those_seen_and_those_that_cannot_be() -> None:
    report = without(REPORT, "CKM_ECDSA")
    known = load_profile("nitrokey-hsm2")
    assert "hangs-on-removal" in known.quirks
    quirks = drafted(report, known).quirks
    assert {"hangs-on-removal", "mechanism-list-incomplete"} <= set(quirks)
    assert "serial-empty" not in drafted(REPORT, load_profile("tpm2")).quirks


def test_nothing_works_and_it_still_is_a_profile() -> None:
    report = REPORT
    for step in STEP_NAMES[2:]:
        report = otherwise(report, step, "refused", code="CKR_FUNCTION_NOT_SUPPORTED")
    draft = drafted(report)
    assert draft.seal_methods == ("hpke-p256",)
    assert evidence(draft)["seal"].verified == "documented"
    assert "of no use" in draft.notes


@pytest.mark.case("X953", "what a probe saw, whatever it is: each outcome at each step, as a draft")
@pytest.mark.parametrize("outcome", ["refused", "wrong", "crashed", "late", "skipped"])
@pytest.mark.parametrize("step", STEP_NAMES)
def test_every_outcome_makes_a_draft(step: str, outcome: str) -> None:
    bare = Seen(step=step, outcome=outcome)
    report = replace(REPORT, seen=tuple(bare if one.step == step else one for one in REPORT.seen))
    drafted(report)
    drafted(report, load_profile("softhsm2"))


@pytest.mark.parametrize("name", profile_names())
def test_a_draft_beside_every_packaged_profile(name: str) -> None:
    assert drafted(REPORT, load_profile(name)).pin_min == 6


@pytest.mark.case("X954", "tokens whose names no pattern can hold: empty, with *, not ASCII")
@pytest.mark.parametrize(
    ("manufacturer", "model"),
    [("", ""), ("*", "*"), ("A*b", "m*"), ('quote "x" \\', "- {a: 1}"), ("?", " "), ("a: b", "#x")],
)
def test_odd_names_are_matched_by_what_can_be_said(manufacturer: str, model: str) -> None:
    draft = drafted(saying(REPORT, manufacturer=manufacturer, model=model))
    assert draft.match.covers(manufacturer, model)


@pytest.mark.parametrize("module", [Path("/x/m\u00fcller.so"), Path("/" + "x" * 300)])
def test_a_place_that_no_profile_can_name_is_left_out(module: Path) -> None:
    assert drafted(REPORT, module=module).modules == ()


@pytest.mark.parametrize(("low", "high", "says"), [(0, 0, (1, 1)), (4, 10**6, (4, 255)),
                                                   (300, 400, (255, 255))])  # fmt: skip
def test_lengths_of_a_pin_are_what_a_profile_can_say(
    low: int, high: int, says: tuple[int, int]
) -> None:
    draft = drafted(saying(REPORT, pin_min=low, pin_max=high))
    assert (draft.pin_min, draft.pin_max) == says


def test_the_file_tells_a_person_what_to_do() -> None:
    text = profile_text(draft_of(REPORT, MODULE)).decode()
    assert text.startswith("# A draft: look at each `not known: fill in`")
    assert "# Ask the vendor whether keys can be cloned or wrapped out.\nkey_backup:" in text
    assert text.isascii()
