"""A TCP connection to the database that can be slowed down or cut."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from benchmarks.serving.world import stand_back


class Proxy:
    """Forwards to the database."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "127.0.0.1", target.port or 5432)
        self._parts = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._delay_seconds = 0.0
        self._away = False
        self.url = ""

    def become(self, state: str) -> None:
        """`up`, `slow` (half a second per answer) or `away` (every connection closed, new ones refused)."""
        self._delay_seconds = 0.5 if state == "slow" else 0.0
        self._away = state == "away"
        if self._away:
            self._loop.call_soon_threadsafe(lambda: [writer.close() for writer in self._writers])

    @contextlib.contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Listen until the end of the block."""
        ready = threading.Event()

        async def serve() -> None:
            stand_back(threading.get_native_id())
            server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            self.url = urlunsplit(self._parts._replace(netloc=f"{self._parts.username}@127.0.0.1:{port}"))
            ready.set()

        self._loop.create_task(serve())
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        ready.wait(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(5)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._away:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._pump(reader, there_writer, slow=False), self._pump(there_reader, writer, slow=True))
        self._writers -= {writer, there_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if slow and self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()
