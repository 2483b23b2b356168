"""Whether one agent's configuration, files, token and surroundings are in order; or one device.

It looks and never logs in, reads no PIN, loads no module here and changes nothing.
"""

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from signer.agent.config import AgentConfig
from signer.custody.desk import Desk, require_pinned
from signer.custody.doctor import Finding, host_findings
from signer.custody.doctor_device import Wanted
from signer.custody.doctor_files import Inspector, disk_finding
from signer.custody.doctor_journal import (
    host_anchor_of,
    journal_finding,
    mark_finding,
    pin_guard_finding,
)
from signer.custody.doctor_token import plugged_findings, token_findings
from signer.custody.jobs.sources import SecretSource
from signer.errors import SignerError
from signer.hsm.node import Person

_JOURNAL = "journal.jsonl"
_PROC = Path("/proc")
_CAP_IPC_LOCK = 1 << 14  # capabilities(7)


def examine_device(profile: str | None, module: Path | None) -> list[Finding]:
    """Return what was found of this machine, and of a device that may have just been plugged in.

    Args:
        profile: its device profile; with neither this nor `module`, whatever is on USB.
        module: its PKCS#11 module, if it is not where the profile says.

    Raises:
        ProfileError: no such profile.
    """
    wanted = Wanted(person=Person.of(os.geteuid()))
    place = None if module is None else str(module.absolute())
    device = plugged_findings(profile, place, wanted)
    return [*host_findings(time.time()), *device]


def examine(config_path: Path) -> list[Finding]:
    """Return what was found: of this machine, and of the agent that `config_path` describes."""
    try:
        config = AgentConfig.load(config_path)
    except SignerError as error:
        why = Finding("D_CONFIG", "bad", error.message, error.hint or "correct the configuration")
        rest = Finding(
            "D_AGENT", "skipped", "files, token and agent need a configuration that can be read"
        )
        return [*host_findings(time.time()), why, rest]
    journal, user = config.state / _JOURNAL, agent_user(config)
    papers, desk = papers_finding(config)
    anchor = host_anchor_of(config.envelope, config.token.profile.journal_anchor)
    judged, known = journal_finding(journal, user, desk, anchor)
    running = Confinement.of(journal_holder(journal, _text(_PROC / "locks") or ""))
    return [
        *host_findings(
            time.time(),
            last_intent=None if known is None else known.last_intent,
            locks_memory=None if running is None else running.locks_memory,
        ),
        *_file_findings(config, config_path, Inspector(user)),
        papers,
        judged,
        mark_finding(config.envelope, journal),
        pin_guard_finding(config.state / "pin-guard.json"),
        disk_finding(config.state, _text(_PROC / "self/mountinfo")),
        socket_finding(config.socket),
        unit_finding(running),
        *token_findings(config.token, Wanted(person=Person.of(user), agent=True)),
    ]


def agent_user(config: AgentConfig) -> int:
    """Return the uid that runs the agent: for root the state folder's owner, else this user's."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            return config.state.stat().st_uid
    return os.geteuid()


def _file_findings(config: AgentConfig, path: Path, inspector: Inspector) -> list[Finding]:
    control = () if config.control is None else (config.control.parent,)
    return [
        inspector.public_file("D_CONFIG", "configuration", path),
        inspector.public_file("D_GROUP_FILE", "group file", config.group),
        inspector.public_file("D_ENVELOPE_FILE", "envelope", config.envelope),
        inspector.public_file("D_POLICY_FILE", "policy", config.policy),
        pin_finding(config.pin, inspector),
        inspector.folder("D_STATE_FOLDER", "state folder", config.state, most=0o700, follow=True),
        inspector.folder(
            "D_SOCKET_FOLDER", "socket's folder", config.socket.parent, most=0o755, follow=False
        ),
        *(
            inspector.folder(
                "D_CONTROL_FOLDER", "control socket's folder", folder, most=0o750, follow=False
            )
            for folder in control
        ),
    ]


def pin_finding(pin: SecretSource | None, inspector: Inspector) -> Finding:
    """Judge the PIN's file by owner and mode, where there is one. It is not opened."""
    file = None if pin is None else pin.to_json().get("file")
    if not isinstance(file, str):
        return Finding("D_PIN_FILE", "ok", "the PIN is in no file of this user's")
    if file.startswith("/run/credentials/") and not os.path.lexists(file):
        return Finding("D_PIN_FILE", "skipped", "the PIN is there only while the unit runs")
    return inspector.secret_file("D_PIN_FILE", "PIN file", Path(file))


def papers_finding(config: AgentConfig) -> tuple[Finding, Desk | None]:
    """Do group file, policy and envelope belong together? Return them if they do."""
    try:
        desk = Desk.lay(config.group, config.policy, config.envelope)
        require_pinned(desk.group.network, config.network)
    except SignerError as error:
        fix = error.hint or "take the files of one ceremony"
        return Finding("D_PAPERS", "bad", error.message, fix), None
    group = desk.group
    together = (
        f"group file, policy and envelope belong together: "
        f"{'REHEARSAL ' if group.rehearsal else ''}share {int(desk.index)} of "
        f"{group.threshold.n}, {group.network.name}, {group.origin_words}"
    )
    if not group.active:
        fix = "finish the ceremony: signer ceremony status"
        inactive = f"{together}; NOT ACTIVE, it signs nothing yet"
        return Finding("D_PAPERS", "warn", inactive, fix), desk
    return Finding("D_PAPERS", "ok", together), desk


def socket_finding(path: Path) -> Finding:
    """Judge the socket itself, if it is there. Nobody connects."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return Finding("D_SOCKET", "skipped", "no agent listens: there is no socket")
    except OSError as error:
        reason = (error.strerror or "error").lower()
        return Finding("D_SOCKET", "bad", f"the socket: {reason}", f"look at {path}")
    if not stat.S_ISSOCK(status.st_mode):
        return Finding(
            "D_SOCKET", "bad", "something that is no socket is in its way", f"move {path} away"
        )
    if status.st_mode & 0o007:
        return Finding(
            "D_SOCKET", "warn", "anybody may try the socket", f"chmod 660 {path}: uids still decide"
        )
    return Finding("D_SOCKET", "ok", "the socket is open to its owner and group alone")


def journal_holder(journal: Path, locks: str) -> int | None:
    """Return the pid of the agent that has the journal open, by /proc/locks (proc(5))."""
    try:
        status = journal.stat()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in locks.splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == device:
            with contextlib.suppress(ValueError):
                return int(fields[4])
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What the running agent is confined by, as /proc tells it (proc(5))."""

    status: dict[str, str]  # /proc/PID/status
    limits: str  # /proc/PID/limits

    @classmethod
    def of(cls, pid: int | None) -> "Confinement | None":
        """Return that of process `pid`; None if there is no such process."""
        status = None if pid is None else _text(_PROC / str(pid) / "status")
        if status is None:
            return None
        pairs = (line.partition(":") for line in status.splitlines())
        return cls(
            status={name: value.strip() for name, _, value in pairs},
            limits=_text(_PROC / str(pid) / "limits") or "",
        )

    @property
    def locks_memory(self) -> bool:
        """Whether its workers can lock all their memory."""
        with contextlib.suppress(ValueError):
            if int(self.status.get("CapEff", "0"), 16) & _CAP_IPC_LOCK:
                return True
        return self.limit("Max locked memory") == "unlimited"

    def limit(self, name: str) -> str | None:
        """Return a soft limit."""
        for line in self.limits.splitlines():
            if line.startswith(name):
                return line[len(name) :].split()[0]
        return None


def unit_finding(running: Confinement | None) -> Finding:
    """Does the running agent have what the unit in deploy/ gives it?"""
    if running is None:
        return Finding("D_UNIT", "skipped", "no agent runs with this state folder")
    wanted = {
        "no new privileges": running.status.get("NoNewPrivs") == "1",
        "a filter of system calls": running.status.get("Seccomp") == "2",
        "no capabilities": set(running.status.get("CapEff", "1")) == {"0"},
        "no core dumps": running.limit("Max core file size") == "0",
        "lockable memory": running.locks_memory,
    }
    missing = [name for name, there in wanted.items() if not there]
    if missing:
        return Finding(
            "D_UNIT",
            "warn",
            f"the running agent lacks: {', '.join(missing)}",
            "run it by deploy/systemd/signer-agent@.service",
        )
    return Finding("D_UNIT", "ok", "the running agent is confined as deploy/systemd has it")


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text("utf-8", errors="replace")
    return None
