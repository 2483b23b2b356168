"""What udev itself does by our rules: to the devices they are for, and to no other."""

import re
from pathlib import Path

import pytest

from signer.hsm.udev import RULES_NAME, load_rules
from signer.hsm.usb import KINDS
from tests.simulators.confined import settings
from tests.simulators.udev import PORT, SYSUSERS, UsbDevice, judge

ROOT = Path(__file__).resolve().parents[2]
RULES = (ROOT / "udev" / RULES_NAME).read_text()
NO_RULES = "# nothing\n"

YUBIHSM2 = UsbDevice(vendor="1050", product="0030", interfaces=":ff0000:")
PART_OF_ONE = UsbDevice(
    vendor="1050", product="0030", interfaces=":ff0000:",
    path=f"{PORT}/1-2:1.0", kind="usb_interface",
)  # fmt: skip
NITROKEY_HSM2 = UsbDevice(vendor="20a0", product="4230", interfaces=":0b0000:")
YUBIKEY = UsbDevice(vendor="1050", product="0407", interfaces=":030101:030000:0b0000:")
NEIGHBOUR = UsbDevice(vendor="1050", product="0031", interfaces=":ff0000:")
STRANGER = UsbDevice(vendor="04f2", product="0030", interfaces=":ff0000:")


def test_udev_has_nothing_to_say_against_the_file(tmp_path: Path) -> None:
    assert judge(RULES, STRANGER, tmp_path).complaints == ()


@pytest.mark.parametrize("action", ["add", "change", "bind"])
def test_a_yubihsm_is_the_agents_groups(action: str, tmp_path: Path) -> None:
    verdict = judge(RULES, YUBIHSM2, tmp_path, action=action)
    assert (verdict.group, verdict.mode) == ("signer", "0660")
    assert "uaccess" in verdict.tags


def test_without_our_rule_it_is_roots_alone(tmp_path: Path) -> None:
    verdict = judge(NO_RULES, YUBIHSM2, tmp_path)
    assert (verdict.group, verdict.mode) == (None, "0664")  # others may read, nobody may write
    assert "uaccess" not in verdict.tags


def test_another_group_of_this_machine(tmp_path: Path) -> None:
    rules = load_rules().for_group("daemon").text
    assert judge(rules, YUBIHSM2, tmp_path).group == "daemon"


@pytest.mark.parametrize("device", [NITROKEY_HSM2, YUBIKEY], ids=["nitrokey-hsm2", "yubikey"])
def test_what_pcscd_drives_needs_nothing_of_ours(device: UsbDevice, tmp_path: Path) -> None:
    verdict = judge(RULES, device, tmp_path)
    assert verdict.applied == ()
    assert verdict.group is None
    assert {"security-device", "uaccess"} <= verdict.tags


@pytest.mark.parametrize("device", [NEIGHBOUR, STRANGER], ids=["same-vendor", "same-product"])
def test_a_stranger_is_left_alone(device: UsbDevice, tmp_path: Path) -> None:
    verdict = judge(RULES, device, tmp_path)
    assert verdict.applied == ()
    assert (verdict.group, verdict.mode) == (None, "0664")
    assert "uaccess" not in verdict.tags


def test_a_part_of_a_device_has_no_node_to_give(tmp_path: Path) -> None:
    verdict = judge(RULES, PART_OF_ONE, tmp_path)
    assert verdict.applied == ()
    assert "uaccess" not in verdict.tags


def test_a_device_that_is_pulled(tmp_path: Path) -> None:
    verdict = judge(RULES, YUBIHSM2, tmp_path, action="remove")
    assert verdict.applied == ()
    assert "uaccess" not in verdict.tags


@pytest.mark.case("X858", "udev rule for a group that does not exist: udev leaves the HSM to root")
def test_a_group_that_there_is_not(tmp_path: Path) -> None:
    verdict = judge(RULES, YUBIHSM2, tmp_path, with_group=False)
    assert [words for words in verdict.complaints if "Unknown group 'signer', ignoring" in words]
    assert (verdict.group, verdict.mode) == (None, "0660")  # neither agent nor others


@pytest.mark.case("X859", "broken udev rule: udev names the file and the line")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('GROUP="signer"', 'GRUOP="signer"'),
        ('GROUP="signer"', 'GROUP=="signer"'),
        ('MODE="0660"', 'MODE="0660'),
        ('TAG+="uaccess"', "TAG+=uaccess"),
        ('LABEL="signer_hsm_end"', 'LABEL="signer_hsm_fin"'),
    ],
)
def test_a_broken_file_is_noticed(old: str, new: str, tmp_path: Path) -> None:
    assert RULES.count(old) == 1
    assert judge(RULES.replace(old, new), YUBIHSM2, tmp_path).complaints != ()


def test_rule_unit_and_sysusers_speak_of_the_same_group() -> None:
    units = ROOT / "deploy" / "systemd"
    (group,) = settings(units / "signer-agent@.service")["Group"]
    assert {rule.group for rule in load_rules().rules} == {group}
    assert re.search(rf"^[ug] {group} - ", SYSUSERS.read_text(), re.MULTILINE)
    drop_in = units / "drop-ins" / "device-usb.conf"
    assert f"group {group}" in drop_in.read_text()
    assert "signer token udev" in drop_in.read_text()
    assert settings(drop_in)["DeviceAllow"] == ["char-usb_device rw"]  # /dev/bus/usb, of the rule
    assert settings(drop_in)["PrivateDevices"] == ["no"]


def test_the_number_is_below_what_acts_on_uaccess() -> None:
    assert int(RULES_NAME[:2]) < 73


def test_the_page_tells_of_every_rule() -> None:
    page = (ROOT / "udev" / "README.md").read_text()
    for rule in load_rules().rules:
        assert f"| {rule.title} (`{rule.name}`) | `{rule.vendor}:{rule.product}` | **yes**" in page


def test_the_program_knows_exactly_the_devices_of_the_page() -> None:
    """Of the row of each device: its ids, and whether pcscd opens it."""
    page = (ROOT / "udev" / "README.md").read_text()
    listed: dict[str, bool] = {}
    for line in re.findall(
        r"^\| [^|]*\| ([^|]*`[0-9a-f]{4}:[^|]*) \| ([^|]*) \|", page, re.MULTILINE
    ):
        vendor = ""
        for ids in re.findall(r"`([0-9a-f:]+)`", line[0]):
            vendor, product = ids.split(":") if ":" in ids else (vendor, ids)
            pcsc = "yes" not in line[1]
            listed.setdefault(f"{vendor}:{product}", pcsc)  # the connector's row says no
    assert len(listed) > 20
    rules = {f"{rule.vendor}:{rule.product}" for rule in load_rules().rules}
    assert {ids for ids, pcsc in listed.items() if not pcsc} == rules
    known = {ids for kind in KINDS for ids in kind.ids}
    assert {ids for ids, pcsc in listed.items() if pcsc} == known
