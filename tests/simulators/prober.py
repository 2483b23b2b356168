"""`signer token probe` as a person runs it, and what it left."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import Seen
from signer.hsm.profile import DeviceProfile

SIGNER = Path(sys.executable).with_name("signer")


@dataclass(frozen=True)
class Probed:
    """One run that ended with status 0."""

    value: dict[str, Any]  # what --json printed
    out: Path

    @property
    def report(self) -> ProbeReport:
        """The report as the parser reads it from the folder."""
        return ProbeReport.parse((self.out / "report.json").read_bytes())

    @property
    def draft(self) -> DeviceProfile:
        """The draft as the parser reads it."""
        return DeviceProfile.parse((self.out / "profile.yaml").read_bytes(), "profile.yaml")

    @property
    def faults(self) -> dict[str, Seen]:
        """What did not work, without what was not tried."""
        return {
            seen.step: seen for seen in self.report.seen
            if seen.outcome not in ("works", "skipped")
        }  # fmt: skip

    def outcomes(self, *steps: str) -> list[str]:
        """Return the outcomes of some steps."""
        return [self.report.by_step[step].outcome for step in steps]


def signer(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SIGNER, "token", "probe", *arguments],
        capture_output=True, text=True, check=False, timeout=100, stdin=subprocess.DEVNULL,
        env=dict(os.environ) | dict(environment or {}), **options,
    )  # fmt: skip


def probe(out: Path, *arguments: str | Path, **options: Any) -> Probed:
    """Run a probe that must end with status 0."""
    done = signer(*arguments, "--out", out, "--json", **options)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    probed = Probed(value, out)
    assert probed.report.to_json() == value["report"]
    assert probed.draft.name.startswith("draft-")
    return probed
