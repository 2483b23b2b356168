"""Run an agent until it is told to stop."""

import asyncio
import os
import signal
import stat
from pathlib import Path

from aiohttp import web

from signer.agent.config import AgentConfig
from signer.agent.log import EventLog
from signer.agent.server import HEAD_SECONDS, AgentServer
from signer.agent.socket_path import BACKLOG, listen, remove
from signer.custody.custodian import Custodian, module_environment
from signer.custody.desk import Desk, require_pinned
from signer.custody.journal import Journal
from signer.custody.mark import mark_journal, require_marked_journal
from signer.errors import ConfigError
from signer.files import make_folder
from signer.strict import Fields

STOP_SECONDS = 60.0  # a batch under way at SIGTERM may take this long to finish


def run_agent(config: AgentConfig, log: EventLog) -> None:
    """Serve `config` until SIGTERM or SIGINT.

    Raises:
        SignerError: the files, the journal or the socket are not in order. Nothing was served.
    """
    os.umask(0o077)
    log.never_wait()
    log.take_over("aiohttp", "asyncio")
    desk = Desk.lay(config.group, config.policy, config.envelope)
    require_pinned(desk.group.network, config.network)
    _state_folder(config.state)
    path = config.state / "journal.jsonl"
    require_marked_journal(config.envelope, path)
    with Journal.open(path, desk.group, desk.index) as journal:
        if not mark_journal(config.envelope, path):
            log.write("journal_not_marked", envelope=str(config.envelope))
        if journal.torn:
            log.write("journal_tail_set_aside", sequence=journal.sequence)
        custodian = Custodian(
            desk=desk,
            journal=journal,
            token=config.token,
            pin=config.pin,
            environment=module_environment(config.token.profile.environment),
            threads=config.threads,
            on_work=lambda result: _log_work(log, result),
        )
        asyncio.run(_serve(config, AgentServer(custodian, config.peers, log), log))
    log.write("stopped", sequence=journal.sequence)


async def _serve(config: AgentConfig, server: AgentServer, log: EventLog) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=HEAD_SECONDS,
        shutdown_timeout=STOP_SECONDS,
        handle_signals=False,
    )
    await runner.setup()
    listener = listen(config.socket)
    bound = config.socket.lstat()
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        log.write("listening", socket=str(config.socket), pid=os.getpid())
        await stop.wait()
        log.write("stopping")
    finally:
        remove(config.socket, bound)
        await runner.cleanup()
        server.close()


def _state_folder(path: Path) -> None:
    make_folder(path, mode=0o700)
    status = path.stat()
    ours = status.st_uid in (os.geteuid(), 0)
    if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022 or not ours:
        raise ConfigError(
            f"others may change the state folder {str(path)!r}", hint=f"chmod 700 {path}"
        )


def _log_work(log: EventLog, result: Fields) -> None:
    """Log what the worker says of itself: how long the share was open, what could not be locked."""
    milliseconds = result.integer("unsealed_milliseconds", low=0, high=2**31)
    weaknesses = result.array("weaknesses", low=0, high=16)
    log.write(
        "worker_done",
        unsealed_milliseconds=milliseconds,
        weaknesses=", ".join(str(weakness) for weakness in weaknesses)[:200],
    )
