"""`make demo`: five tokens, three of five, one holder stopped, one lying; and the file is right."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from demo import stage
from demo.verification import verify_file
from signer.testing.pool import CommandFailedError, Holder, Pool, summary

HERE = Path(__file__).resolve().parent
NAMES = ("Ada", "Boris", "Chidi", "Dolores", "Emeka")
THRESHOLD = 3
STOPPED, LYING = 4, 2  # share indices


def run(folder: Path, out: Path) -> int:
    """Do the whole job in `folder` and leave the results in `out`."""
    started = time.monotonic()
    print("A withdrawal key held by five, any three of whom can sign. On SoftHSM, which protects")
    print("nothing: it stands in for the tokens.\n")

    with Pool.with_tokens(folder, NAMES) as pool:
        step(1, "five holders made keys on their tokens and showed their cards")
        shutil.copy(HERE / "policy.yaml", pool.policy)
        pool.split(THRESHOLD, source=("--mnemonic-file", private_copy(folder)))
        step(2, "the dealer split the mnemonic's key 3 of 5 and sealed each share to its token")
        for holder in pool.holders:
            pool.run("share", "verify", "--group", pool.group, "--envelope", holder.envelope,
                     *holder.token_options, holder=holder)  # fmt: skip
        step(3, "each holder opened his share on his token and proved it against the group")
        pool.start()
        pool.stop_agent(pool.holders[STOPPED - 1])
        liar = lie_for(pool.holders[LYING - 1])
        asleep, dishonest = NAMES[STOPPED - 1], NAMES[LYING - 1]
        step(4, f"five agents started; {asleep}'s was stopped, {dishonest}'s made to lie")
        try:
            request = folder / "request.json"
            pool.run("request", "new", "--network", "mainnet", "--group", pool.group,
                     "--to", "0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac15",
                     "--validators", HERE / "validators.txt", "--out", request)  # fmt: skip
            step(5, "the operator asked that eight validators pay to the pool's treasury")
            sockets = [
                liar_socket(holder) if holder.index == LYING else holder.socket
                for holder in pool.holders
            ]
            result = summary(pool.sign(request, folder / "signed", agents=sockets))
        finally:
            liar.terminate()
            liar.wait()
        report(result)
        file = Path(result["file"])
        seconds = time.monotonic() - started
        checked = verify_file(file)
        step(7, f"py_ecc, another implementation, verified all {checked} signatures")
        leave(out, pool, file, result, seconds)
    print(f"\n{out}/{file.name}\nis what a beacon node takes. {seconds:.0f} seconds.")
    return 0


def report(result: dict[str, object]) -> None:
    """Say who signed and who was named."""
    signers = ", ".join(NAMES[index - 1] for index in listed(result["signers"]))
    step(6, f"{result['signed']} changes signed by {signers}")
    for culprit in entries(result["culprits"]):
        name = NAMES[int(str(culprit["index"])) - 1]
        print(f"     named: {name}, share {culprit['index']}: what his agent's socket gave is "
              f"not what his token signed ({culprit['code']})")  # fmt: skip
    for failure in entries(result["failed"]):
        place = Path(str(failure["agent"])).parts[-3]
        print(f"     no answer: the agent of {place} ({failure['code']})")


def leave(out: Path, pool: Pool, file: Path, result: dict[str, object], seconds: float) -> None:
    """Put group file, signed changes and summary into `out`, in place of an earlier demo's."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("bls_to_execution_change-*.json"), out / "group.json"):
        old.unlink(missing_ok=True)
    shutil.copy(pool.group, out / "group.json")
    shutil.copy(file, out / file.name)
    short = {
        "signed": result["signed"],
        "signers": result["signers"],
        "culprits": [
            {"index": culprit["index"], "code": culprit["code"]}
            for culprit in entries(result["culprits"])
        ],
        "seconds": round(seconds, 2),
    }
    (out / "summary.json").write_text(json.dumps(short, indent=2) + "\n")


def lie_for(holder: Holder) -> "subprocess.Popen[bytes]":
    """Put a lying agent in front of the holder's real one."""
    liar = subprocess.Popen(
        [sys.executable, "-m", "demo.liar", str(holder.socket), str(liar_socket(holder))],
        cwd=HERE.parent,
    )
    deadline = time.monotonic() + 10
    while not liar_socket(holder).exists():
        if liar.poll() is not None or time.monotonic() > deadline:
            raise CommandFailedError("the lying agent did not start")
        time.sleep(0.02)
    return liar


def liar_socket(holder: Holder) -> Path:
    """Return where the holder's lying agent listens."""
    return holder.socket.with_name("liar.sock")


def private_copy(folder: Path) -> Path:
    """Copy the demo's mnemonic to a 0600 file, as one that is a secret must be."""
    words = folder / "words"
    words.touch(mode=0o600)
    words.write_bytes((HERE / "mnemonic.txt").read_bytes())
    return words


def step(number: int, words: str) -> None:
    """Print one step."""
    print(f"  {number}  {words}", flush=True)


def listed(value: object) -> list[int]:
    """Return a list of integers out of parsed JSON."""
    return [int(entry) for entry in value] if isinstance(value, list) else []


def entries(value: object) -> list[dict[str, object]]:
    """Return a list of objects out of parsed JSON."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


if __name__ == "__main__":
    sys.exit(stage.main("make demo", __doc__, run))
