"""Whom the server lets in, by the kernel's word."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from signer.agent import peer
from signer.agent.peer import Peer, require
from signer.errors import (
    DeniedError,
)
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import SimulatedPool
from tests.simulators.server import RunningServer, run

POOL = SimulatedPool.new()
REQUEST = POOL.request(1, 2, 3)
BODY = REQUEST.to_bytes()
UID = os.geteuid()
HEAD = b"POST /v1/sign HTTP/1.1\r\nHost: agent\r\n"


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


# Who asks


@pytest.mark.case("K11", "wrong uid, for status and for sign apart")
@pytest.mark.parametrize(
    ("status", "sign"), [((), (UID,)), ((UID,), ()), ((), ()), ((UID + 1,),) * 2]
)
def test_each_method_has_its_callers(
    desk: SimulatedDesk, status: tuple[int, ...], sign: tuple[int, ...]
) -> None:
    async def use(agent: RunningServer) -> None:
        for method, path, allowed in (("GET", "/v1/status", status), ("POST", "/v1/sign", sign)):
            answer = await agent.ask(method, path, BODY if method == "POST" else b"")
            assert (answer.status == 200) == (UID in allowed)
            if UID not in allowed:
                assert (answer.status, answer.code) == (403, "E_PEER")

    run(desk, use, peers={"status": frozenset(status), "sign": frozenset(sign)})
    assert len(desk.worker.jobs) == (UID in sign)


@pytest.mark.case("K11", "uid of another user namespace, pid 0, a method nobody listed")
@pytest.mark.parametrize("caller", [Peer(1, 65534), Peer(0, 1000), Peer(1, 1001)])
def test_whom_the_kernel_does_not_know_is_nobody(caller: Peer) -> None:
    allowed = {"sign": frozenset({65534, 1000})}
    with pytest.raises(DeniedError) as refused:
        require(caller, "sign", allowed)
    assert refused.value.code == "E_PEER"
    require(Peer(1, 1000), "sign", allowed)
    with pytest.raises(DeniedError):
        require(Peer(1, 1000), "approve", allowed)


def test_the_peer_is_the_kernels_word() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert Peer.of(ours) == Peer(os.getpid(), UID)
    assert peer._NOBODY == 65534


CALLER = """
import os, socket, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.chdir(sys.argv[3])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect("agent.sock")
except PermissionError:
    sys.exit("no way in")
client.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
print(client.recv(4096).split()[1].decode())
"""


@pytest.mark.case("K11", "another user: in the folder's group and listed, not listed, not in it")
@pytest.mark.skipif(UID != 0, reason="only root may become another user")
@pytest.mark.parametrize(
    ("uid", "gid", "heard"), [(4711, 0, "200"), (4712, 0, "403"), (4711, 4711, "no way in")]
)
def test_another_user_is_who_the_kernel_says(
    desk: SimulatedDesk, uid: int, gid: int, heard: str
) -> None:
    def call(folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CALLER, str(uid), str(gid), str(folder)],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
        return (done.stdout + done.stderr).strip()

    async def use(agent: RunningServer) -> None:
        assert await asyncio.to_thread(call, agent.path.parent) == heard

    run(desk, use, peers={"status": frozenset({4711}), "sign": frozenset()})


@pytest.mark.case("K13", "a descriptor attached to the request")
def test_descriptors_sent_along_are_not_taken(desk: SimulatedDesk) -> None:
    def send_with_descriptor(path: str) -> bytes:
        read, write = os.pipe()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            socket.send_fds(
                client,
                [b"GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
                [write],
            )
            os.close(write)
            answer = client.recv(100)
            assert os.read(read, 1) == b""  # nobody holds the other end
        os.close(read)
        return answer

    async def use(agent: RunningServer) -> None:
        answer = await asyncio.wait_for(asyncio.to_thread(send_with_descriptor, str(agent.path)), 5)
        assert answer.startswith(b"HTTP/1.1 200")

    run(desk, use)
