"""im_load -- people who talk and look around without end, for a test that does
something to the servers meanwhile.  What fails they forget."""

import asyncio
import os
import random
import threading

import aiohttp
import websockets

from im_client import Api, Problem, new_cmid
from im_wait import pace


class Load:
    """In a thread of its own: `with Load(address): ...`."""

    def __init__(self, address, people=8):
        self.address = address
        self.people = people
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.acked = 0             # messages
        self.answered = 0          # calls

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(60), 'nobody could log in'
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.main.cancel)
        self.thread.join(30)

    def run(self):
        asyncio.run(self.all())

    async def all(self):
        self.loop = asyncio.get_running_loop()
        self.main = asyncio.current_task()
        try:
            async with Api(self.address) as api:
                users = [await self.login(api) for _ in range(self.people)]
                self.ready.set()
                await asyncio.gather(*(
                    f(u, users) for u in users
                    for f in (self.talk, self.call)))
        except asyncio.CancelledError:
            pass

    async def login(self, api):
        while True:
            try:
                u = await api.register('load-' + os.urandom(6).hex(),
                                       'correct horse battery')
                return await u.log_in()
            except Problem:
                await pace(0.2)

    async def talk(self, user, users):
        """By WebSocket: a window of messages, acks counted."""
        while True:
            try:
                s = await user.connect()
                reader = asyncio.ensure_future(self.read(s))
                try:
                    while not reader.done():
                        await s.write(type='send', cmid=new_cmid(), body='hi',
                                      to=str(random.choice(users).uid))
                        await pace(0.01)
                finally:
                    reader.cancel()
                    s.ws.transport.abort()
            except (Problem, OSError, websockets.WebSocketException):
                pass
            await pace(0.05)

    async def read(self, s):
        while True:
            f = await s.receive(30)
            self.acked += f['type'] == 'ack'

    async def call(self, user, users):
        """By HTTP: messages, and what waits for the store."""
        while True:
            try:
                await user.send(random.choice(users).uid, 'hello')
                await user.api.call('GET', '/v1/conversations', user.token)
                self.answered += 2
            except (Problem, OSError, aiohttp.ClientError):
                pass
            await pace(0.02)
