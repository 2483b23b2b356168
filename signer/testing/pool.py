"""A whole pool on this machine, provisioned and driven through the command line alone.

Holders are numbered from 1. Each has a folder with his token, PIN file, card, envelope, agent.yaml,
and, once started, a real agent process. What is done here is what people do with the same commands.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from signer.testing.nursery import Nursery
from signer.testing.softhsm import SoftHSM

TEST_MNEMONIC = " ".join(["abandon"] * 23 + ["art"])  # BIP-39's own test words: no secret
TEST_ADDRESS = "0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac15"
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0


class CommandFailedError(AssertionError):
    """A command of the pool ended with another status than expected."""


class AgentProcess(Protocol):
    """A running agent: a `subprocess.Popen`, or one that a nursery forked."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""

    def terminate(self) -> None:
        """Ask it to stop."""

    def kill(self) -> None:
        """End it."""


@dataclass(slots=True)
class Holder:
    """One holder's things."""

    index: int
    name: str
    folder: Path
    token: SoftHSM
    agent: AgentProcess | None = None

    @property
    def card(self) -> Path:
        """His card."""
        return self.folder / "card.json"

    @property
    def envelope(self) -> Path:
        """His sealed share."""
        return self.folder / "share.envelope.json"

    @property
    def socket(self) -> Path:
        """His agent's socket."""
        return self.folder / "run" / "agent.sock"

    @property
    def journal(self) -> Path:
        """His agent's journal."""
        return self.folder / "state" / "journal.jsonl"

    @property
    def log(self) -> Path:
        """His agent's log."""
        return self.folder / "agent.log"

    @property
    def token_options(self) -> list[str]:
        """The options that choose his token."""
        return ["--token", self.token.label, "--pin-file", str(self.token.pin_file)]


@dataclass(slots=True)
class Pool:
    """n holders on SoftHSM, a key split among them, and their agents. Use it in a `with` block."""

    folder: Path
    holders: list[Holder] = field(default_factory=list)
    nursery: Nursery | None = None  # what starts agents, if not one Python for each

    @classmethod
    def with_tokens(cls, folder: Path, names: Sequence[str]) -> Self:
        """Make a token, its two keys and a card for each name."""
        pool = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(names, start=1):
            place = folder / f"holder-{index}"
            place.mkdir()
            token = SoftHSM.create(place / "token", f"holder-{index}")
            holder = Holder(index, name, place, token)
            pool.holders.append(holder)
            pool.run("token", "setup", *holder.token_options, holder=holder)
            pool.run("token", "card", *holder.token_options, "--name", name,
                     "--out", holder.card, holder=holder)  # fmt: skip
        return pool

    @property
    def group(self) -> Path:
        """The group file."""
        return self.folder / "group" / "group.json"

    @property
    def policy(self) -> Path:
        """The pool's policy."""
        return self.folder / "policy.yaml"

    def write_policy(
        self, addresses: Sequence[str] = (TEST_ADDRESS,), *, approval: str = "never", more: str = ""
    ) -> None:
        """Write a policy that allows `addresses`; `approval` is YAML, and `more` further lines."""
        lines = ["version: 2", f"approval: {approval}", *more.splitlines(), "addresses:"]
        for number, address in enumerate(addresses, start=1):
            lines += [f'  - address: "{address}"', f"    label: treasury {number}"]
        self.policy.write_text("\n".join(lines) + "\n")

    def split(
        self, threshold: int, *, network: Sequence[str] = ("--network", "mainnet"),
        source: Sequence[str | Path] | None = None,
    ) -> None:  # fmt: skip
        """Split a key (the test mnemonic's, unless told) and hand out the envelopes."""
        if source is None:
            words = self.folder / "mnemonic"
            words.touch(mode=0o600)
            words.write_text(TEST_MNEMONIC + "\n")
            source = ("--mnemonic-file", words)
        cards = [part for holder in self.holders for part in ("--card", holder.card)]
        self.run("group", "split", *cards, "--threshold", str(threshold), "--policy", self.policy,
                 *network, *source, "--out", self.group.parent)  # fmt: skip
        for holder in self.holders:
            sealed = self.group.parent / f"share-{holder.index}.envelope.json"
            holder.envelope.write_bytes(sealed.read_bytes())

    def write_agent_config(self, holder: Holder, **changes: str) -> Path:
        """Write the holder's agent.yaml; `changes` replace whole top-level settings (YAML text)."""
        uid = os.geteuid()
        settings = {
            "version": "1",
            "socket": "run/agent.sock",
            "state": "state",
            "group": f'"{self.group}"',
            "envelope": "share.envelope.json",
            "policy": f'"{self.policy}"',
            "token": f"{{profile: softhsm2, label: {holder.token.label}}}",
            "pin": f'{{file: "{holder.token.pin_file}"}}',
            "peers": f"{{status: [{uid}], sign: [{uid}]}}",
        } | changes
        path = holder.folder / "agent.yaml"
        path.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        return path

    def start_agent(self, holder: Holder, **changes: str) -> None:
        """Start the holder's agent and wait until it listens."""
        self._launch(holder, changes)
        self._await_socket(holder)

    def start(self, own: Mapping[int, dict[str, str]] | None = None, **changes: str) -> None:
        """Start every agent that does not run, all at once, and wait until they listen.

        `changes` are everybody's, as in `write_agent_config`; `own` are some holders', by number.
        """
        for holder in self.holders:
            if holder.agent is None:
                self._launch(holder, changes | (own or {}).get(holder.index, {}))
        for holder in self.holders:
            self._await_socket(holder)

    def _launch(self, holder: Holder, changes: dict[str, str]) -> None:
        config = self.write_agent_config(holder, **changes)
        if self.nursery is not None:
            environment = {"SOFTHSM2_CONF": str(holder.token.config)}
            holder.agent = self.nursery.start(config, holder.log, environment)
            return
        with holder.log.open("ab") as log:
            holder.agent = subprocess.Popen(
                [sys.executable, "-m", "signer", "agent", "run", "--config", str(config)],
                env=holder.token.environment, stderr=log, stdout=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def _await_socket(self, holder: Holder) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not holder.socket.exists():
            dead = holder.agent is None or holder.agent.poll() is not None
            if dead or time.monotonic() > deadline:
                raise CommandFailedError(f"agent {holder.index}: {holder.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop_agent(self, holder: Holder) -> int:
        """End the holder's agent with SIGTERM; return its exit status."""
        if holder.agent is None:
            return 0
        holder.agent.terminate()
        try:
            status = holder.agent.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            holder.agent.kill()
            status = holder.agent.wait()
        holder.agent = None
        return status

    def request(
        self, validators: Sequence[int], *, to: str = TEST_ADDRESS, name: str = "request.json"
    ) -> Path:
        """Make a request and return its path."""
        listed = self.folder / f"{name}.validators"
        listed.write_text("".join(f"{index}\n" for index in validators))
        out = self.folder / name
        self.run("request", "new", "--group", self.group, "--to", to,
                 "--validators", listed, "--out", out)  # fmt: skip
        return out

    def sign(
        self, request: Path, out: Path, *options: str | Path,
        agents: Sequence[Path] | None = None, expect: int | None = 0,
    ) -> "subprocess.CompletedProcess[str]":  # fmt: skip
        """Run `signer sign --json` over the agents' sockets."""
        sockets = [holder.socket for holder in self.holders] if agents is None else agents
        asked = [part for socket in sockets for part in ("--agent", socket)]
        return self.run("sign", request, "--group", self.group, *asked, "--out", out, "--json",
                        *options, expect=expect)  # fmt: skip

    def run(
        self, *arguments: str | Path, holder: Holder | None = None, expect: int | None = 0
    ) -> "subprocess.CompletedProcess[str]":
        """Run one `signer` command, without a terminal.

        Raises:
            CommandFailedError: it ended with another status than `expect`.
        """
        environment = holder.token.environment if holder else dict(os.environ)
        done = subprocess.run(
            [sys.executable, "-m", "signer", *map(str, arguments)],
            env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=300, start_new_session=True, check=False,
        )  # fmt: skip
        if expect is not None and done.returncode != expect:
            words = " ".join(map(str, arguments[:2]))
            raise CommandFailedError(
                f"signer {words} ended with {done.returncode}, not {expect}:\n{done.stderr}"
            )
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for holder in self.holders:
            self.stop_agent(holder)


def summary(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """Return the JSON that a command printed."""
    value = json.loads(done.stdout)
    if not isinstance(value, dict):
        raise CommandFailedError(f"not a JSON object: {done.stdout[:200]}")
    return value
