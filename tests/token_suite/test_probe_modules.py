"""A probe of every module of the catalogue finds what the token suite knows of it."""

from pathlib import Path

import pytest

from signer.hsm.probe.steps import reason_to_skip
from tests.modules.bench import Bench
from tests.modules.under_test import ModuleUnderTest
from tests.simulators.prober import Probed, probe, signer

STEPS = {
    "ecdsa-p256": "ecdsa-p256",
    "ecdh-p256": "hpke-p256",
    "rsa-oaep-sha256": "rsa-oaep-sha256",
    "rsa-oaep-sha1": "rsa-oaep-sha1",
    "aes-256-gcm": "aes-256-gcm",
    "data-objects": "data-objects",
}
_QUIRK = "mechanism-list-incomplete"
# SoftHSM makes keys of kinds that its configuration took from the list.
OTHERWISE = {
    "softhsm2-piv": [
        ("seal", "aes-256-gcm", "no, CKR_MECHANISM_INVALID"),
        ("quirks", f"no {_QUIRK}", _QUIRK),
    ],
    "softhsm2-rsa-card": [
        ("seal", "hpke-p256", "no, CKR_MECHANISM_INVALID"),
        ("seal", "aes-256-gcm", "no, CKR_MECHANISM_INVALID"),
        ("ceremony", "true", "false"),
        ("quirks", f"no {_QUIRK}", _QUIRK),
    ],
}
_CLAIMS = "ALWAYS_SENSITIVE True, NEVER_EXTRACTABLE True"
LIES = {
    "nss": [f"of {kind} key made on it: LOCAL False" for kind in ("a P-256", "an AES", "an RSA")],
    "opencryptoki": [f"of {kind} key brought in: {_CLAIMS}" for kind in ("a P-256", "an AES")],
}


def probed(bench: Bench, out: Path, *extra: str) -> Probed:
    """Probe without a profile; the variables that the module reads are told by name."""
    under = bench.under
    pin = bench.pin_file().path
    token = ["--token", under.label] if under.serial is None else ["--serial", under.serial]
    names = [word for name in under.environment for word in ("--environment", name)]
    return probe(out, "--module", under.path, *token, "--pin-file", pin, "--seconds", "60",
                 *names, *extra)  # fmt: skip


@pytest.mark.other_process
def test_the_probe_sees_what_each_module_can_do(
    under: ModuleUnderTest, bench: Bench, tmp_path: Path
) -> None:
    before = bench.contents()
    bench.close()
    extra = ["--with-token-keys"] if under.name == "tpm2" else []
    found = probed(bench, tmp_path / "out", *extra)
    assert bench.contents() == before == []
    outcomes = {seen.step: seen.outcome for seen in found.report.seen}
    assert {ability for ability, step in STEPS.items() if outcomes[step] == "works"} == (
        under.abilities & STEPS.keys()
    )
    for seen in found.report.seen:  # all was tried that could be
        assert seen.outcome != "skipped" or reason_to_skip(seen.step, outcomes) == seen.detail
    assert found.value["profile"] == under.profile_name
    assert found.value["differences"] == [
        {"field": field, "profile": says, "seen": shows}
        for field, says, shows in OTHERWISE.get(under.name, ())
    ]
    assert found.draft.provenance == under.profile.provenance
    assert found.draft.quirks == under.profile.quirks or under.name in OTHERWISE


@pytest.mark.case(
    "X966", "openCryptoki 3.8.1 says of keys brought in what is not so; NSS never LOCAL"
)
@pytest.mark.parametrize("under", LIES, indirect=True)
def test_lies_of_real_modules_are_found(
    under: ModuleUnderTest, bench: Bench, tmp_path: Path
) -> None:
    bench.close()
    found = probed(bench, tmp_path / "out")
    assert found.value["conclusions"]["lies"] == LIES[under.name]
    assert (found.draft.provenance, found.draft.ceremony) == ("unproven", False)


@pytest.mark.parametrize("under", ["tpm2"], indirect=True)
def test_a_token_that_makes_no_session_keys_is_told_so_and_gets_none(
    under: ModuleUnderTest, bench: Bench, tmp_path: Path
) -> None:
    bench.close()
    found = probed(bench, tmp_path / "out")
    assert found.faults["rsa-keys"].code == "CKR_SESSION_READ_ONLY"
    assert found.value["differences"] == []  # it is the session that was refused, not the device
    assert bench.contents() == []
    bench.close()
    pin = bench.pin_file().path
    done = signer("--module", under.path, "--token", under.label, "--pin-file", pin)
    assert done.returncode == 0
    assert "It makes no session keys; --with-token-keys would" in done.stdout
