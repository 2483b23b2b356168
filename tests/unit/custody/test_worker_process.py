import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from signer.custody import worker_process
from signer.custody.jobs import order_bytes
from signer.custody.jobs.key_source import KeySource
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.splitting import SplitKey
from signer.custody.jobs.tokens import ListTokens
from signer.custody.worker_process import run_worker
from signer.errors import SignerError, TokenNotFoundError, WorkerError
from signer.hsm.profile import load_profile
from signer.messages.networks import MAINNET

# What a worker is made of is hidden from its own user; that is what one of these tests is about.
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees inside a worker")
ORDER = ListTokens(token=TokenChoice(profile=load_profile("softhsm2"), module="/nowhere/module.so"))
Impostor = Callable[[str], Path]


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Impostor:
    """Put a shell script in the worker's place. It finds the folder of the test as $0's."""

    def make(script: str) -> Path:
        path = tmp_path / "worker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))
        return tmp_path

    return make


def failure(seconds: float = 5, environment: Mapping[str, str] | None = None) -> SignerError:
    with pytest.raises(SignerError) as failed:
        run_worker(ORDER, environment=environment or {}, seconds=seconds)
    return failed.value


def gone(group: int) -> bool:
    """Tell whether nobody of this process group runs any more; zombies do not."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        running = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, in_group = path.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(in_group) == group and state not in "ZX":
                running.append(path)
        if not running:
            return True
        time.sleep(0.01)
    return False


# The real worker


def test_a_workers_error_is_raised_here_as_its_own_kind() -> None:
    error = failure()
    assert (type(error).__name__, error.code) == ("ModuleError", "E_MODULE")
    assert "/nowhere/module.so" in error.message


@pytest.mark.case("X212", "order that the worker does not understand")
def test_a_worker_refuses_what_is_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "order_bytes", lambda job: b'{"version": 1, "job": "x"}')
    assert failure().code == "E_SCHEMA"


@pytest.mark.case("H10", "PYTHONPATH, sitecustomize, PYTHONSTARTUP, a planted module in the cwd")
def test_nothing_planted_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = tmp_path / "imported"
    planted = f"open({str(proof)!r}, 'w').close()\n"
    for name in ("sitecustomize.py", "usercustomize.py", "json.py", "hmac.py"):
        (tmp_path / name).write_text(planted)
    (tmp_path / "signer").mkdir()
    (tmp_path / "signer" / "__init__.py").write_text(planted)
    monkeypatch.chdir(tmp_path)
    planted_environment = {
        "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "PYTHONHOME": str(tmp_path), "PYTHONUSERBASE": str(tmp_path), "HOME": str(tmp_path),
    }  # fmt: skip
    for name, value in planted_environment.items():
        monkeypatch.setenv(name, value)
    assert failure().code == "E_MODULE"
    assert failure(environment=planted_environment).code == "E_MODULE"
    assert not proof.exists()
    # The same things do work where nobody guards against them.
    environment = {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", ""], env=environment, check=True)
    assert proof.exists()


def raw_worker(descriptors: tuple[int, ...] = ()) -> "subprocess.Popen[bytes]":
    """Start a worker as run_worker does, and give it no order yet."""
    worker = worker_process._hire({"SOFTHSM2_CONF": "/x"}, descriptors)
    deadline = time.monotonic() + 5
    status = Path(f"/proc/{worker.pid}/status")
    while "NoNewPrivs:\t1" not in status.read_text():  # the hardening has run
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return worker


def end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    worker.communicate()


def test_a_worker_is_hard_to_steal_from() -> None:
    worker = raw_worker()
    try:
        place = Path(f"/proc/{worker.pid}")
        limits = (place / "limits").read_text()
        core = next(line for line in limits.splitlines() if "core file" in line)
        assert core.split()[4:6] == ["0", "0"]
        assert os.getsid(worker.pid) == worker.pid
    finally:
        end(worker)


@root_only
def test_a_worker_has_what_it_was_given_and_no_more() -> None:
    with Path(os.devnull).open() as stray:
        os.set_inheritable(stray.fileno(), True)
        worker = raw_worker()
        try:
            place = Path(f"/proc/{worker.pid}")
            assert {path.name for path in (place / "fd").iterdir()} <= {"0", "1", "2", "3"}
            assert (place / "cwd").readlink() == Path("/")
            assert (place / "environ").read_bytes() == b"SOFTHSM2_CONF=/x\0"
            deadline = time.monotonic() + 5
            while "VmLck:\t       0 kB" in (place / "status").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            end(worker)


def test_its_own_user_cannot_read_a_workers_memory() -> None:
    code = (
        "import ctypes\n"
        "from signer.custody.worker.hardening import harden\n"
        "before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"  # PR_GET_DUMPABLE
        "harden()\n"
        "print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"1", b"0"]
    if os.geteuid() == 0:
        return  # root may read it all the same
    worker = raw_worker()
    try:
        with pytest.raises(PermissionError):
            Path(f"/proc/{worker.pid}/mem").read_bytes()
    finally:
        end(worker)


@root_only
def test_what_a_module_prints_does_not_reach_the_result() -> None:
    worker = raw_worker()
    try:
        deadline = time.monotonic() + 5
        while Path(f"/proc/{worker.pid}/fd/1").readlink() != Path(os.devnull):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert Path(f"/proc/{worker.pid}/fd/2").readlink() == Path(os.devnull)
    finally:
        end(worker)


@pytest.mark.case("H1", "agent killed while its worker runs: the worker dies with it")
def test_a_worker_does_not_outlive_who_hired_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from signer.custody import worker_process\n"
        "worker = worker_process._hire({}, ())\n"
        "while 'NoNewPrivs:\\t1' not in open(f'/proc/{worker.pid}/status').read(): pass\n"
        "time.sleep(0.1)\n"
        "print(worker.pid, flush=True)\n"
        "if os.fork() == 0:\n"  # somebody else holds the pipe: no end of input wakes the worker
        "    os.close(1); os.close(2); time.sleep(4); os._exit(0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert gone(int(done.stdout))


@pytest.mark.case("H3", "memory that may not be locked: said, not hidden")
def test_what_cannot_be_had_is_reported() -> None:
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "from signer.custody.worker import hardening\n"
        "hardening.os.getuid() or hardening.os.setuid(65534)\n"  # root may lock all the same
        "print(hardening.harden())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['memory_not_locked']\n"


@pytest.mark.case("H4", "core dumps allowed at the start: the worker has none")
def test_a_worker_leaves_no_core() -> None:
    code = (
        "import ctypes, resource\n"
        "from signer.custody.worker.hardening import harden\n"
        "dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE\n"
        "print(dumpable())\n"
        "harden()\n"
        "print(dumpable(), resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n0 (0, 0)\n"


@pytest.mark.case("T3", "a secret in argv or environment: there is no way to give one")
def test_an_order_goes_through_the_pipe_alone(impostor: Impostor) -> None:
    folder = impostor(
        'd=${0%/*}; tr "\\0" "\\n" </proc/$$/cmdline >$d/argv;'
        ' tr "\\0" "\\n" </proc/$$/environ >$d/env; /bin/cat >$d/order; exit 3'
    )
    failure(environment={"SOFTHSM2_CONF": "/x"})
    assert (folder / "argv").read_text().split()[2:] == ["-I", "-m", "signer.custody.worker"]
    assert (folder / "env").read_text().split() == ["SOFTHSM2_CONF=/x"]
    assert (folder / "order").read_bytes() == order_bytes(ORDER)


# Workers that are none


@pytest.mark.case("H1", "worker killed, ended, with half an answer, with garbage")
@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("kill -9 $$", "signal 9"),
        ("kill -11 $$", "signal 11"),
        ("exit 0", "status 0"),
        ("exit 7", "status 7"),
        ("""printf '{"version":1,"ok":{'""", "status 0"),
        ("""printf 'hello world'""", "no result"),
        ("""printf '[]'""", "no result"),
        ("""printf '{"version":1,"ok":{}}{"version":1,"ok":{}}'""", "no result"),
        ("""printf '\\377\\376'""", "no result"),
    ],
)
def test_a_worker_without_a_result_failed(impostor: Impostor, script: str, word: str) -> None:
    impostor(script)
    error = failure()
    assert (type(error), error.code) == (WorkerError, "E_WORKER")
    assert word in error.message


@pytest.mark.case("X213", "worker whose result has another version, an unknown field, no shape")
@pytest.mark.parametrize(
    "answer",
    [
        '{"version":2,"ok":{}}',
        '{"version":1}',
        '{"version":1,"ok":[]}',
        '{"version":1,"ok":{},"more":1}',
        '{"version":1,"error":{}}',
        '{"version":1,"error":"E_PIN"}',
        '{"version":1,"error":{"kind":"PinError","code":1,"message":"","hint":""}}',
    ],
)
def test_a_result_has_one_form(impostor: Impostor, answer: str) -> None:
    impostor(f"printf '%s' '{answer}'")
    assert failure().exit_status == 1


@pytest.mark.parametrize("kind", ["SystemExit", "BadPartialsError", "object", ""])
@pytest.mark.case("X214", "worker whose error claims to be of a class that is none of ours")
def test_only_errors_of_our_tree_come_back(impostor: Impostor, kind: str) -> None:
    error = f'{{"kind":"{kind}","code":"E_X","message":"m","hint":""}}'
    impostor(f"printf '%s' '{{\"version\":1,\"error\":{error}}}'")
    assert type(failure()) is WorkerError


def test_a_known_error_comes_back_whole(impostor: Impostor) -> None:
    error = '{"kind":"TokenNotFoundError","code":"E_TOKEN_ABSENT","message":"m","hint":"h"}'
    impostor(f"printf '%s' '{{\"version\":1,\"error\":{error}}}'")
    found = failure()
    assert type(found) is TokenNotFoundError
    assert (found.message, found.hint, found.exit_status) == ("m", "h", 7)


@pytest.mark.case("F3", "worker that answers 65 MiB")
def test_a_huge_answer_is_no_answer(impostor: Impostor) -> None:
    impostor("/bin/dd if=/dev/zero bs=1048576 count=65 2>/dev/null")
    assert "no result" in failure(20).message


@pytest.mark.case("T5", "worker that hangs, its driver's own processes too")
@pytest.mark.parametrize("script", ["exec /bin/sleep 60", "trap '' TERM; /bin/sleep 60 & wait"])
def test_a_hanging_worker_is_ended(impostor: Impostor, script: str) -> None:
    folder = impostor(f"echo $$ >${{0%/*}}/pid; {script}")
    started = time.monotonic()
    error = failure(0.5)
    assert (type(error), error.code) == (WorkerError, "E_TIMEOUT")
    assert time.monotonic() - started < 3
    assert gone(int((folder / "pid").read_text()))


@pytest.mark.case("X215", "worker that does not read its order")
def test_a_worker_that_does_not_listen_is_ended(impostor: Impostor) -> None:
    impostor("exec /bin/sleep 60")
    big = SplitKey(
        key=KeySource(mnemonic=SecretSource(file="/x")), threshold=2, cards=("x" * 2**20,),
        network=MAINNET,
        role="withdrawal", policy_digest=bytes(32),
    )  # fmt: skip
    with pytest.raises(WorkerError) as failed:
        run_worker(big, environment={}, seconds=0.5)
    assert failed.value.code == "E_TIMEOUT"


def test_a_caller_that_is_interrupted_leaves_no_worker(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = impostor("echo $$ >${0%/*}/pid; exec /bin/sleep 60")

    def interrupt(*_: object, **__: object) -> None:
        while not (folder / "pid").exists() or not (folder / "pid").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_worker(ORDER, environment={}, seconds=5)
    assert gone(int((folder / "pid").read_text()))


@pytest.mark.case("X216", "no process can be started")
def test_no_process_is_the_workers_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "no worker process could be started" in failure().message


def test_a_worker_may_be_hired_from_any_thread() -> None:
    codes: list[str] = []
    threads = [threading.Thread(target=lambda: codes.append(failure(20).code)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["E_MODULE"] * 3
