"""Whether a token's hardware can be reached: what is on USB, who may open it, pcscd, the TPM.

Each check is a plain function from what was seen to a `Finding`; `look_for_device` looks. Nothing
is opened, nobody connects.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from signer.custody.doctor import Finding
from signer.hsm.node import Node, Person, group_exists
from signer.hsm.pcsc import Pcscd, needs_pcscd
from signer.hsm.profile import DeviceProfile
from signer.hsm.udev import PLACE, RELOAD, RULES_NAME, DeviceRule, load_rules
from signer.hsm.udev_installed import InstalledRule, installed_rules
from signer.hsm.usb import Kind, UsbDevice, kind_of, usb_devices

TPM, TPM_ALONE = (
    Path("/dev/tpmrm0"),
    Path("/dev/tpm0"),
)  # with the kernel's resource manager, without
_TPM_MODULE = "libtpm2_pkcs11"
_TCTI = "TPM2_PKCS11_TCTI"  # tpm2-pkcs11's own way to another TPM
_MOST_SHOWN = 8
_GET_PCSCD = (
    "install it: apt install pcscd (Debian, Ubuntu), dnf install pcsc-lite pcsc-lite-ccid "
    "(Fedora), pacman -S pcsclite ccid (Arch)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose device is looked for, and how much it matters."""

    person: Person  # who is to use it
    profile: DeviceProfile | None = None  # None: whatever is plugged in
    module: Path | None = None  # the one that was named
    reached: bool = False  # the module shows a token of this profile
    agent: bool = False  # the person is an agent's user

    @property
    def grave(self) -> str:
        """The state of what keeps the device from being used."""
        return "warn" if self.profile is None else "bad"


def look_for_device(wanted: Wanted) -> list[Finding]:
    """Look at this machine for the device of a profile, or for any that we know."""
    profile, person = wanted.profile, wanted.person
    if profile is not None and _is_tpm(profile):
        return [
            tpm_finding(wanted, Node.look(TPM, person), TPM_ALONE.exists(), os.environ.get(_TCTI))
        ]
    plugged = usb_devices()
    known = None if plugged is None else [(d, k) for d in plugged if (k := kind_of(d)) is not None]
    pcsc = profile is not None and needs_pcscd(profile, wanted.module)
    by_rule = profile is not None and any(rule.name == profile.name for rule in load_rules().rules)
    if profile is not None and not pcsc and not by_rule:
        return []  # on the network, in software, or of no kind that we know
    findings = usb_findings(wanted, known, pcsc=pcsc)
    if pcsc or (profile is None and any(kind.pcsc for _, kind in known or ())):
        findings.append(pcsc_finding(wanted, Pcscd.look(person)))
    for device, kind in known or ():
        if kind.pcsc or (profile is not None and kind.profile != profile.name):
            continue
        rule = load_rules().rule_for(device.vendor, device.product)
        installed = installed_rules(device.vendor, device.product)
        if rule is not None:
            node = Node.look(device.node, person)
            findings.append(node_finding(wanted, node, rule, installed, group_exists(rule.group)))
    return findings


def usb_findings(
    wanted: Wanted, known: Sequence[tuple[UsbDevice, Kind]] | None, *, pcsc: bool
) -> list[Finding]:
    """Say what is plugged in, and under which profile it is used. `known` None: cannot tell."""
    profile = wanted.profile
    if known is None:
        return [Finding("D_DEVICE", "skipped", "this machine, or container, shows no USB devices")]
    if profile is None:
        if not known:
            return [Finding("D_DEVICE", "skipped", "no device that we know is on USB")]
        return [
            Finding(
                "D_DEVICE",
                "ok",
                f"{kind.title} ({device.ids}) is plugged in; look closer: "
                f"signer doctor --profile {kind.profile}",
            )
            for device, kind in known[:_MOST_SHOWN]
        ]
    meant = [(d, k) for d, k in known if k.profile == profile.name]
    if not meant and pcsc and profile.name != "yubikey-piv":  # a card, in whatever reader
        meant = [(d, k) for d, k in known if k.pcsc]
    if meant:
        names = ", ".join(f"{kind.title} ({device.ids})" for device, kind in meant[:_MOST_SHOWN])
        return [Finding("D_DEVICE", "ok", f"plugged in: {names}")]
    if wanted.reached:
        return [
            Finding("D_DEVICE", "skipped", "not on USB here; the module reaches it all the same")
        ]
    there = ", ".join(f"{kind.title} (profile {kind.profile})" for _, kind in known[:_MOST_SHOWN])
    return [
        Finding(
            "D_DEVICE",
            "warn",
            f"nothing on USB is what profile {profile.name!r} is for; "
            f"known and plugged in: {there or 'none'}",
            "plug it in, at another port or cable; lsusb shows what the kernel sees. In a "
            "container or virtual machine hand it through",
        )
    ]


def node_finding(
    wanted: Wanted,
    node: Node,
    rule: DeviceRule,
    installed: Sequence[InstalledRule],
    group_there: bool,
) -> Finding:
    """May the person open the node of a device that a rule of ours is for?

    Args:
        wanted: who.
        node: the device's.
        rule: ours.
        installed: what of this machine's udev is about such a device.
        group_there: whether this machine has our rule's group.
    """
    name = wanted.person.name
    if node.usable:
        return Finding("D_DEVICE_NODE", "ok", f"{name} may open {node.path} ({rule.title})")
    if wanted.reached:
        return Finding(
            "D_DEVICE_NODE",
            "ok",
            f"{name} may not open {node.path}, and need not: the module reaches the device, "
            "by a connector perhaps",
        )
    if not node.there:
        return Finding(
            "D_DEVICE_NODE",
            wanted.grave,
            f"{rule.title} is plugged in, but its node {node.path} is not here",
            "in a container hand /dev/bus/usb through; else plug the device in anew",
        )
    denied = f"{name} may not open {node.path} ({rule.title}), which is for group {node.group}"
    install = f"signer token udev --device {rule.name} | sudo tee {PLACE} && {RELOAD}"
    if not installed:
        what = f"{denied}: the rule for it is not installed ({RULES_NAME}:{rule.line})"
        first = "" if group_there else "sudo systemd-sysusers (deploy/sysusers.d has the group); "
        return Finding("D_DEVICE_NODE", wanted.grave, what, first + install)
    last = installed[-1]
    what = f"{denied}; the rule is {last.place}"
    if not last.group:
        fix = f"let the module speak to whom that rule gives it (its connector), or: {install}"
    elif last.group == rule.group and not group_there:
        fix = f"there is no group {last.group}: sudo systemd-sysusers && {RELOAD}"
    elif last.group != node.group:
        fix = f"udev has not followed it yet: {RELOAD}; or plug the device in anew"
    elif wanted.agent:
        fix = f"sudo usermod --append --groups {node.group} {name}, and start the agent anew"
    else:
        fix = (
            "log in at the machine itself, not by ssh; or have the agent's user look, with "
            f"--config; or give it to a group of yours, with --group: {install}"
        )
    return Finding("D_DEVICE_NODE", wanted.grave, what, fix)


def pcsc_finding(wanted: Wanted, seen: Pcscd) -> Finding:
    """Is pcscd there, and may the person talk to it?"""
    grave, socket = wanted.grave, seen.socket
    if wanted.reached:
        return Finding("D_PCSC", "ok", "the module reaches its token, so pcscd serves it")
    if not socket.there:
        if not seen.installed:
            return Finding(
                "D_PCSC", grave, "pcscd, which smart cards need, is not here", _GET_PCSCD
            )
        start = "systemctl enable --now pcscd.socket" if seen.systemd else "pcscd"
        return Finding("D_PCSC", grave, "pcscd does not run", f"start it: sudo {start}")
    restart = "systemctl restart pcscd.socket" if seen.systemd else "pcscd"
    if not seen.is_socket:
        what = f"no socket of pcscd's is at {socket.path}, but something else"
        return Finding("D_PCSC", grave, what, f"move it away, then: sudo {restart}")
    if not socket.usable:
        what = f"{wanted.person.name} may not use pcscd's socket, which is for group {socket.group}"
        join = f"sudo usermod --append --groups {socket.group} {wanted.person.name}"
        return Finding("D_PCSC", grave, what, f"{join}, and log in anew")
    if not seen.listening:
        return Finding(
            "D_PCSC",
            "warn",
            "pcscd's socket is there, but nobody listens on it here",
            f"start pcscd anew: sudo {restart}. In a container the host's may listen all the same",
        )
    return Finding("D_PCSC", "ok", "pcscd listens, and its socket may be used")


def tpm_finding(wanted: Wanted, node: Node, alone: bool, tcti: str | None) -> Finding:
    """May the person use the TPM through the kernel's resource manager?

    Args:
        wanted: who.
        node: /dev/tpmrm0.
        alone: whether there is /dev/tpm0, the TPM without it.
        tcti: what TPM2_PKCS11_TCTI says, which leads the module elsewhere.
    """
    if tcti:
        return Finding("D_TPM", "skipped", f"{_TCTI} says where the TPM is")
    if node.usable:
        return Finding("D_TPM", "ok", f"{wanted.person.name} may use {node.path}")
    if wanted.reached:
        return Finding("D_TPM", "ok", f"the module reaches a TPM without {node.path}")
    if not node.there and alone:
        return Finding(
            "D_TPM",
            wanted.grave,
            f"there is {TPM_ALONE} but no {node.path}: the TPM has no resource manager",
            "use a kernel from 4.12 on and a TPM 2.0; in a container hand this node through",
        )
    if not node.there:
        return Finding(
            "D_TPM",
            wanted.grave,
            f"there is no TPM: no {node.path}",
            "switch it on in the firmware's settings (fTPM, PTT); in a container or virtual "
            "machine hand it through",
        )
    what = f"{wanted.person.name} may not use {node.path}, which is for group {node.group}"
    if node.group == "root":
        fix = "install the rules that give it to group tss: apt install tpm-udev; then start anew"
    elif wanted.agent:
        fix = (
            f"give the unit SupplementaryGroups={node.group}, see udev/README.md, and start it anew"
        )
    else:
        fix = f"sudo usermod --append --groups {node.group} {wanted.person.name}, and log in anew"
    return Finding("D_TPM", wanted.grave, what, fix)


def _is_tpm(profile: DeviceProfile) -> bool:
    names = [path.name for path in profile.module_paths]
    return not profile.software and any(name.startswith(_TPM_MODULE) for name in names)
