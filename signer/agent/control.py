"""The holder's private socket: the one place where a person says yes, no, or try that PIN again.

Never the requesters' socket. Its file is 0600 in a 0700 folder, and the kernel must name the caller
as a holder. One command, one answer, and the connection ends; a descriptor may come with `approve`,
any other is closed. Reading a command has a limit in time and size, and who only holds connections
open loses the oldest of them, so nobody keeps the holder out.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from signer.agent.approvals import Approvals
from signer.agent.commands import (
    APPROVE,
    DENY,
    MAX_COMMAND_BYTES,
    PENDING,
    SHOW,
    UNLATCH,
    Command,
    answer_line,
    error_line,
)
from signer.agent.intake import Intake
from signer.agent.log import EventLog
from signer.agent.peer import Peer, require
from signer.agent.socket_path import listen, remove
from signer.errors import ConfigError, PinError, SchemaError, SignerError
from signer.files import make_folder

COMMAND_SECONDS = 5.0  # from connecting to the end of the line
ANSWER_SECONDS = 10.0  # for the other side to take the answer
STOP_SECONDS = 60.0  # for what was approved to be finished when the agent ends
MAX_READING = 16  # connections whose command is not there yet
_MAX_DESCRIPTORS = 4  # taken at once, to be closed; the kernel closes what is beyond
_CONTROL = "control"


class ControlServer:
    """Serves `Approvals` to the holders' uids."""

    def __init__(self, approvals: Approvals, holders: frozenset[int], log: EventLog) -> None:
        self._approvals = approvals
        self._allowed = {_CONTROL: holders}
        self._log = log
        self._reading: dict[asyncio.Task[None], None] = {}  # oldest first
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled; then end every connection."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:  # out of descriptors: those in use come back
                    await asyncio.sleep(0.1)
                    continue
                self._take(connection)
        finally:
            for task in list(self._reading):
                task.cancel()
            tasks = [*self._reading, *self._answering]
            if tasks:  # what was approved is finished, and told
                await asyncio.wait(tasks, timeout=STOP_SECONDS)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        while len(self._reading) >= MAX_READING:
            oldest = next(iter(self._reading))
            del self._reading[oldest]
            oldest.cancel()
        task = asyncio.create_task(self._serve_one(connection))
        self._reading[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._reading.pop(task, None)
        self._answering.discard(task)

    async def _serve_one(self, connection: socket.socket) -> None:
        with connection, contextlib.ExitStack() as open_ends:
            uid = None
            try:
                peer = Peer.of(connection)
                uid = peer.uid
                require(peer, _CONTROL, self._allowed)
                async with asyncio.timeout(COMMAND_SECONDS):
                    line = await _receive(connection, open_ends.callback)
                self._read_whole()
                pipe = line.pipe()
                command = Command.parse(bytes(line.text))
                if pipe is not None and command.name != APPROVE:
                    raise SchemaError(f"no descriptor comes with {command.name}")
                answer = answer_line(await self._carry_out(command, uid, pipe))
            except TimeoutError:
                self._refused(uid, "E_SLOW", "no whole command in time")
                return
            except OSError:
                return  # the other side is gone
            except SignerError as error:
                self._refused(uid, error.code, error.message)
                answer = error_line(error)
            except Exception as error:  # a bug of ours
                self._log.write("bug", path=_CONTROL, kind=type(error).__name__, at="control")
                answer = error_line(SignerError("internal error", hint="see the agent's log"))
            open_ends.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await asyncio.get_running_loop().sock_sendall(connection, answer)

    def _read_whole(self) -> None:
        """The command is there: this connection cannot be put out any more."""
        task = asyncio.current_task()
        if task is not None:
            self._reading.pop(task, None)
            self._answering.add(task)

    async def _carry_out(self, command: Command, uid: int, pipe: int | None) -> dict[str, Any]:
        if command.name == PENDING:
            return self._approvals.pending()
        if command.name == SHOW:
            return await self._approvals.show(command.ticket or "")
        if command.name == APPROVE:
            return await self._approvals.approve(command, uid, pipe)
        if command.name == DENY:
            return await self._approvals.deny(command, uid)
        if command.name == UNLATCH:
            self._log.write("pin_released", holder=uid)
            return await self._approvals.unlatch()
        return self._approvals.status()

    def _refused(self, uid: int | None, code: str, why: str) -> None:
        self._log.write("control_refused", uid=uid, code=code, why=why)


class _Line:
    """A command's line and the descriptors that came with it."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.descriptors: list[int] = []
        self.cut = False  # the kernel closed some that were too many

    def pipe(self) -> int | None:
        """Return the one descriptor, if there is one, which must be a pipe's finished read end.

        Raises:
            SchemaError: more than one.
            PinError: no pipe to read from, or one that somebody still holds open for writing.
        """
        if self.cut or len(self.descriptors) > 1:
            raise SchemaError("at most one descriptor comes with a command")
        if not self.descriptors:
            return None
        (descriptor,) = self.descriptors
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode) or not _may_only_read(descriptor):
            raise PinError("the descriptor that came is not a pipe's read end")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        events = dict(poll.poll(0)).get(descriptor, 0)
        if not events & select.POLLHUP:
            raise PinError("the PIN's pipe is still open for writing")
        if not events & select.POLLIN:
            raise PinError("no PIN is in the pipe", code="E_PIN_EMPTY")
        return descriptor


async def _receive(connection: socket.socket, at_end: Callable[..., Any]) -> _Line:
    """Read one line and what comes with it; `at_end(close, descriptor)` has each closed.

    Raises:
        SchemaError: too long, or more than one line.
        OSError: the connection ended before the line did.
    """
    line = _Line()
    while b"\n" not in line.text:
        await _readable(connection)
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                connection, MAX_COMMAND_BYTES, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            continue
        for descriptor in descriptors:
            at_end(os.close, descriptor)
        line.descriptors += descriptors
        line.cut |= bool(flags & socket.MSG_CTRUNC)
        if not data:
            raise ConnectionAbortedError("no whole line")
        line.text += data
        if len(line.text) > MAX_COMMAND_BYTES:
            raise SchemaError(f"command: over {MAX_COMMAND_BYTES} bytes")
        if len(line.descriptors) > 1:
            raise SchemaError("at most one descriptor comes with a command")
    if not line.text.endswith(b"\n") or line.text.count(b"\n") != 1:
        raise SchemaError("command: one line, and nothing after it")
    return line


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, tell)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _may_only_read(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


@contextlib.asynccontextmanager
async def serving_holders(
    path: Path | None, holders: frozenset[int], intake: Intake, log: EventLog
) -> AsyncIterator[None]:
    """Serve the control socket at `path` while the block runs; None is an agent without one."""
    if path is None:
        yield
        return
    with control_socket(path) as listener:
        server = ControlServer(Approvals(intake), holders, log)
        task = asyncio.create_task(server.serve(listener))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def control_socket(path: Path) -> Iterator[socket.socket]:
    """Yield the listening socket at `path`, 0600 in a folder of mode 0700; remove it afterwards.

    Raises:
        ConfigError: others may enter the folder, or somebody listens there.
    """
    make_folder(path.parent, mode=0o700)
    status = path.parent.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077:
        raise ConfigError(
            f"others may enter the control socket's folder {str(path.parent)!r}",
            hint="give it a folder of its own, mode 0700; not the requesters' socket's",
        )
    listener = listen(path)
    path.chmod(0o600)
    bound = path.lstat()
    try:
        yield listener
    finally:
        listener.close()
        remove(path, bound)
