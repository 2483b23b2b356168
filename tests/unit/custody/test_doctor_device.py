"""The doctor's findings about a token's hardware, from what was seen. No device is there."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from signer.custody import doctor_device
from signer.custody.doctor import Finding
from signer.custody.doctor_device import (
    TPM,
    Wanted,
    look_for_device,
    node_finding,
    pcsc_finding,
    tpm_finding,
    usb_findings,
)
from signer.hsm.node import Node, Person
from signer.hsm.pcsc import SOCKET, Pcscd
from signer.hsm.profile import load_profile
from signer.hsm.udev import PLACE, load_rules
from signer.hsm.udev_installed import InstalledRule
from signer.hsm.usb import Kind, UsbDevice, kind_of

ADA = Person(4711, "ada", frozenset({4711}))
(RULE,) = load_rules().rules
OURS = InstalledRule(Path(PLACE), RULE.line, "signer")
INSTALL = "signer token udev --device yubihsm2 | sudo tee /etc/udev/rules.d/70-signer-hsm.rules"


def wanted(profile: str | None = None, **changes: Any) -> Wanted:
    known = None if profile is None else load_profile(profile)
    return Wanted(person=ADA, profile=known, **changes)


def plugged(*ids: str) -> list[tuple[UsbDevice, Kind]]:
    found = []
    for number, entry in enumerate(ids):
        vendor, product = entry.split(":")
        node = Path(f"/dev/bus/usb/001/{number:03}")
        device = UsbDevice(vendor=vendor, product=product, node=node, ccid=True)
        kind = kind_of(device)
        assert kind is not None
        found.append((device, kind))
    return found


def short(found: Finding) -> tuple[str, str]:
    assert found.what
    assert bool(found.fix) == (found.state in ("bad", "warn"))
    return found.code, found.state


# What is on USB


def test_without_a_profile_it_is_named() -> None:
    found = usb_findings(wanted(), plugged("1050:0407", "1050:0030"), pcsc=False)
    assert [short(finding) for finding in found] == [("D_DEVICE", "ok")] * 2
    assert found[0].what.endswith("signer doctor --profile yubikey-piv")
    assert found[1].what == (
        "YubiHSM 2 (1050:0030) is plugged in; look closer: signer doctor --profile yubihsm2"
    )


@pytest.mark.case("X973", "doctor: another device is plugged in, none is, no USB to look at")
@pytest.mark.parametrize(
    ("profile", "ids", "pcsc", "state"),
    [
        ("yubikey-piv", ["1050:0407"], True, "ok"),
        ("yubikey-piv", ["20a0:4230"], True, "warn"),
        ("yubikey-piv", [], True, "warn"),
        ("nitrokey-hsm2", ["20a0:4230", "1050:0407"], True, "ok"),
        ("nitrokey-hsm2", ["08e6:3437"], True, "ok"),  # a SmartCard-HSM card in some reader
        ("opensc", ["08e6:3437"], True, "ok"),
        ("opensc", ["1050:0030"], True, "warn"),
        ("yubihsm2", ["1050:0030"], False, "ok"),
        ("yubihsm2", ["1050:0407"], False, "warn"),
        ("yubihsm2", None, False, "skipped"),
        (None, [], False, "skipped"),
    ],
)
def test_the_device_of_a_profile(
    profile: str | None, ids: list[str] | None, pcsc: bool, state: str
) -> None:
    known = None if ids is None else plugged(*ids)
    (found,) = usb_findings(wanted(profile), known, pcsc=pcsc)
    assert short(found) == ("D_DEVICE", state)
    if state == "warn" and ids:
        assert f"profile {plugged(*ids)[0][1].profile})" in found.what


def test_a_device_that_the_module_reaches_need_not_be_on_usb() -> None:
    (found,) = usb_findings(wanted("yubihsm2", reached=True), [], pcsc=False)
    assert short(found) == ("D_DEVICE", "skipped")


# Its node


def node(**changes: Any) -> Node:
    values: dict[str, Any] = {"path": Path("/dev/bus/usb/001/007"), "there": True, "group": "root"}
    return Node(**(values | changes))


@pytest.mark.case("X974", "doctor: node of a device not permitted, by rule, group and person")
@pytest.mark.parametrize(
    ("seen", "installed", "agent", "what", "fix"),
    [
        (node(), (), False, f"not installed (70-signer-hsm.rules:{RULE.line})", INSTALL),
        (node(), (OURS,), False, f"the rule is {OURS.place}", "udev has not followed it yet: sudo"),
        (node(group="signer"), (OURS,), False, "for group signer", "log in at the machine"),
        (
            node(group="signer"),
            (OURS,),
            True,
            "for group signer",
            "usermod --append --groups signer",
        ),
        (
            node(group="signer"),
            (OURS,),
            True,
            "ada may not open",
            "signer ada, and start the agent",
        ),
        (
            node(),
            (InstalledRule(Path("/lib/70-yubihsm-connector.rules"), 1, ""),),
            True,
            "/lib/70-yubihsm-connector.rules:1",
            "its connector",
        ),
        (node(there=False), (), True, "its node /dev/bus/usb/001/007 is not here", "container"),
    ],
)
def test_a_node_that_may_not_be_opened(
    seen: Node, installed: tuple[InstalledRule, ...], agent: bool, what: str, fix: str
) -> None:
    found = node_finding(wanted("yubihsm2", agent=agent), seen, RULE, installed, True)
    assert short(found) == ("D_DEVICE_NODE", "bad")
    assert what in found.what
    assert fix in found.fix
    assert node_finding(wanted(agent=agent), seen, RULE, installed, True).state == "warn"


def test_the_command_that_installs_a_rule_is_whole() -> None:
    found = node_finding(wanted("yubihsm2"), node(), RULE, (), True)
    assert found.fix == (
        f"{INSTALL} && sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb"
    )
    without = node_finding(wanted("yubihsm2"), node(), RULE, (), False)
    assert without.fix == (f"sudo systemd-sysusers (deploy/sysusers.d has the group); {found.fix}")


def test_a_group_that_is_not_there_is_made_first() -> None:
    found = node_finding(wanted("yubihsm2"), node(), RULE, (OURS,), False)
    assert found.fix.startswith("there is no group signer: sudo systemd-sysusers && sudo udevadm")


@pytest.mark.parametrize(
    ("seen", "reached"), [(node(usable=True), False), (node(), True), (node(there=False), True)]
)
def test_a_node_that_is_no_trouble(seen: Node, reached: bool) -> None:
    found = node_finding(wanted("yubihsm2", reached=reached), seen, RULE, (), True)
    assert short(found) == ("D_DEVICE_NODE", "ok")


# pcscd


def pcscd(**changes: Any) -> Pcscd:
    values: dict[str, Any] = {
        "installed": True, "systemd": True, "is_socket": True, "listening": True,
        "socket": Node(path=SOCKET, there=True, usable=True, group="root"),
    }  # fmt: skip
    return Pcscd(**(values | changes))


GONE = Node(path=SOCKET, there=False)
DENIED = Node(path=SOCKET, there=True, usable=False, group="pcscd")


@pytest.mark.case("X975", "doctor: pcscd absent, not running, not permitted, a file in its place")
@pytest.mark.parametrize(
    ("seen", "state", "fix"),
    [
        (pcscd(), "ok", ""),
        (pcscd(socket=GONE, is_socket=False, installed=False), "bad", "apt install pcscd"),
        (
            pcscd(socket=GONE, is_socket=False),
            "bad",
            "start it: sudo systemctl enable --now pcscd.socket",
        ),
        (pcscd(socket=GONE, is_socket=False, systemd=False), "bad", "start it: sudo pcscd"),
        (pcscd(is_socket=False), "bad", "move it away, then: sudo systemctl restart pcscd.socket"),
        (pcscd(socket=DENIED), "bad", "sudo usermod --append --groups pcscd ada"),
        (pcscd(listening=False), "warn", "sudo systemctl restart pcscd.socket"),
        (pcscd(listening=False, installed=False), "warn", "In a container the host's may listen"),
    ],
)
def test_pcscd(seen: Pcscd, state: str, fix: str) -> None:
    found = pcsc_finding(wanted("opensc"), seen)
    assert short(found) == ("D_PCSC", state)
    assert fix in found.fix
    bare = pcsc_finding(wanted(), seen)
    assert bare.state == ("ok" if state == "ok" else "warn")
    assert pcsc_finding(wanted("opensc", reached=True), seen).state == "ok"


# A TPM


def tpm(**changes: Any) -> Node:
    values: dict[str, Any] = {"path": TPM, "there": True, "group": "tss"}
    return Node(**(values | changes))


@pytest.mark.case("X976", "doctor: no TPM, one without resource manager, one not permitted")
@pytest.mark.parametrize(
    ("seen", "alone", "agent", "state", "fix"),
    [
        (tpm(usable=True), True, False, "ok", ""),
        (tpm(there=False), False, False, "bad", "firmware"),
        (tpm(there=False), True, False, "bad", "kernel from 4.12"),
        (tpm(), True, False, "bad", "sudo usermod --append --groups tss ada, and log in anew"),
        (tpm(), True, True, "bad", "SupplementaryGroups=tss"),
        (tpm(group="root"), True, True, "bad", "apt install tpm-udev"),
    ],
)
def test_a_tpm(seen: Node, alone: bool, agent: bool, state: str, fix: str) -> None:
    found = tpm_finding(wanted("tpm2", agent=agent), seen, alone, None)
    assert short(found) == ("D_TPM", state)
    assert fix in found.fix
    assert tpm_finding(wanted("tpm2"), seen, alone, "swtpm:path=x").state in ("skipped", "ok")
    assert tpm_finding(wanted("tpm2", reached=True), seen, alone, None).state == "ok"


# What is looked at


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with a YubiHSM, a YubiKey and a keyboard; changed by plain assignment."""
    seen: dict[str, Any] = {
        "usb": (
            UsbDevice(vendor="1050", product="0030", node=Path("/nowhere/1")),
            UsbDevice(vendor="1050", product="0407", node=Path("/nowhere/2"), ccid=True),
            UsbDevice(vendor="046d", product="c31c", node=Path("/nowhere/3")),
        ),
        "pcscd": pcscd(),
    }
    monkeypatch.setattr(doctor_device, "usb_devices", lambda: seen["usb"])
    monkeypatch.setattr(Pcscd, "look", lambda person: seen["pcscd"])
    monkeypatch.delenv("TPM2_PKCS11_TCTI", raising=False)
    return seen


@pytest.mark.parametrize(
    ("profile", "codes"),
    [
        (None, ["D_DEVICE", "D_DEVICE", "D_PCSC", "D_DEVICE_NODE"]),
        ("yubikey-piv", ["D_DEVICE", "D_PCSC"]),
        ("opensc", ["D_DEVICE", "D_PCSC"]),
        ("yubihsm2", ["D_DEVICE", "D_DEVICE_NODE"]),
        ("tpm2", ["D_TPM"]),
        *((name, []) for name in ("softhsm2", "tpm2-swtpm", "nss-softokn", "luna", "generic")),
    ],
)
def test_each_kind_of_device_is_looked_for_where_it_is(
    machine: dict[str, Any], profile: str | None, codes: list[str]
) -> None:
    assert [found.code for found in look_for_device(wanted(profile))] == codes


def test_a_machine_where_nothing_is_plugged_in(machine: dict[str, Any]) -> None:
    machine["usb"] = machine["usb"][2:]
    assert [short(f) for f in look_for_device(wanted())] == [("D_DEVICE", "skipped")]
    assert [short(f) for f in look_for_device(wanted("yubihsm2"))] == [("D_DEVICE", "warn")]
    machine["usb"] = None
    assert [short(f) for f in look_for_device(wanted())] == [("D_DEVICE", "skipped")]


def test_a_device_that_only_root_may_open(machine: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "007"
    path.touch()
    path.chmod(0o664)
    (hsm, *others) = machine["usb"]
    machine["usb"] = (dataclasses.replace(hsm, node=path), *others)
    ada = dataclasses.replace(
        wanted("yubihsm2"), person=Person(os.geteuid() + 1, "ada", frozenset())
    )
    (found,) = [f for f in look_for_device(ada) if f.code == "D_DEVICE_NODE"]
    assert found.state == "bad"
    assert f"ada may not open {path}" in found.what
    path.chmod(0o666)
    (found,) = [f for f in look_for_device(ada) if f.code == "D_DEVICE_NODE"]
    assert found.state == "ok"
