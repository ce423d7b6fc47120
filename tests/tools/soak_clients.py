"""The clients of the soak test of the server (soak_server.py): some ask as they should, most do not."""

import asyncio
import json
import random

import httpx

from tests.server.serving import QUESTION, TOOLS

KEY = {"Authorization": "Bearer soak"}
CHAT = "/v1/chat/completions"
BUSY = (429, 503)


class Unexpected(Exception):
    """An answer that the client cannot explain."""


class Client:
    """One client: does one thing after another, at random.

    Parameters
    ----------
    url : str
    seed : int
    counts : Counter
        What was done, and how it ended.
    faults : list of str
        What should not have happened.
    """

    def __init__(self, url, seed, counts, faults):
        self.rng = random.Random(seed)
        self.url, self.counts, self.faults = url, counts, faults
        self.http = httpx.AsyncClient(base_url=url, headers=KEY, timeout=90)
        host, port = url.removeprefix("http://").split(":")
        self.address = host, int(port)
        self.actions = [
            self.answers, self.streams, self.streams, self.leaves, self.leaves, self.reads_slowly, self.sends_too_much,
            self.sends_nonsense, self.asks_for_the_impossible, self.sends_half_a_head, self.sends_half_a_body,
            self.uses_other_endpoints, self.has_no_key,
        ]  # fmt: skip

    async def act(self):
        """Do one thing."""
        action = self.rng.choice(self.actions)
        try:
            self.counts[f"{action.__name__}: {await action()}"] += 1
        except (Unexpected, httpx.TransportError, OSError) as error:
            self.faults.append(f"{action.__name__}: {type(error).__name__}: {error}")

    def body(self, **more):
        """A conversation that shares its beginning with some others."""
        text = f"{self.rng.randrange(4)} " * self.rng.randrange(1, 60)
        return {
            "messages": [{"role": "system", "content": text}, *QUESTION], "max_tokens": self.rng.randrange(1, 60),
            "seed": self.rng.randrange(99), "temperature": self.rng.choice((0, 1)), "ignore_eos": True, **more,
        }  # fmt: skip

    async def expect(self, path, body, *statuses):
        """Post, and return the status, which must be one of these or say that the server is busy."""
        response = await self.http.post(path, json=body)
        if response.status_code not in (*statuses, *BUSY) or not response.json():
            raise Unexpected(f"{path}: {response.status_code}: {response.text[:300]}")
        return response.status_code

    async def answers(self):
        """Ask for whole answers."""
        more = self.rng.choice(
            ({}, {"n": 3, "temperature": 1}, {"tools": TOOLS}, {"logprobs": True, "top_logprobs": 3}, {"n_beams": 2})
        )
        return await self.expect(CHAT, self.body(**more), 200)

    async def streams(self):
        """Read a stream to its end."""
        async with self.http.stream("POST", CHAT, json=self.body(stream=True)) as response:
            if response.status_code in BUSY:
                await response.aread()
                return response.status_code
            lines = [line async for line in response.aiter_lines() if line.startswith("data: ")]
        if lines[-1] == "data: [DONE]":
            return 200
        error = json.loads(lines[-1][6:]).get("error") if lines else None
        if error is None:
            raise Unexpected(f"a stream without an end: {lines[-1:]}")
        return error["code"]

    async def leaves(self):
        """Go away in the middle of a stream, or before it."""
        async with self.http.stream("POST", CHAT, json=self.body(stream=True, max_tokens=400)) as response:
            n = self.rng.randrange(8)
            async for _ in response.aiter_lines():
                n -= 1
                if n < 0:
                    break
        return "left"

    async def raw(self, data, n_bytes=0, pause_s=0.0):
        """Send bytes on a connection of its own; read at most so many, slowly, and go away."""
        reader, writer = await asyncio.open_connection(*self.address, limit=2**10)
        try:
            writer.write(data)
            await writer.drain()
            found = b""
            while len(found) < n_bytes:
                more = await reader.read(64)
                found += more
                if not more:
                    break
                await asyncio.sleep(pause_s)
            return found
        finally:
            writer.transport.abort()

    def head(self, n_bytes):
        """The head of a request with a body of so many bytes."""
        lines = (f"POST {CHAT} HTTP/1.1", "Host: localhost", "Authorization: Bearer soak", f"Content-Length: {n_bytes}")
        return "\r\n".join((*lines, "", "")).encode()

    async def reads_slowly(self):
        """Read a stream slower than it is written."""
        body = json.dumps(self.body(stream=True, max_tokens=400, logprobs=True, top_logprobs=20)).encode()
        found = await self.raw(self.head(len(body)) + body, 2000, 0.02)
        status = int(found.split()[1])
        if status not in (200, *BUSY):
            raise Unexpected(f"reads_slowly: {found[:300]}")
        return status

    async def sends_too_much(self):
        """Send a body over the limit."""
        return await self.expect(
            CHAT, {"messages": QUESTION, "padding": "a" * self.rng.choice((600_000, 3_000_000))}, 413
        )

    async def sends_nonsense(self):
        """Send what is no JSON, or has wrong types."""
        data = self.rng.choice(
            (b"{", b"[]", b'{"messages": 3}', b"\xff\xfe", b'{"messages": [' + b"[" * 10**4, b"NaN", b"")
        )
        response = await self.http.post(CHAT, content=data)
        if response.status_code != 400:
            raise Unexpected(f"sends_nonsense: {data[:40]}: {response.status_code}: {response.text[:300]}")
        return 400

    async def asks_for_the_impossible(self):
        """Ask for constraints that are wrong, unknown models, and too long prompts."""
        more, status = self.rng.choice(
            (
                ({"grammar": "root ::= ("}, 400), ({"regex": "("}, 400), ({"n": 99}, 400), ({"temperature": -1}, 400),
                ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {
                    "type": "object", "$ref": "#/nowhere"}}}}, 400),
                ({"model": "none"}, 404), ({"messages": [{"role": "user", "content": "long " * 2000}]}, 400),
                ({"regex": "[0-9]{1,20}", "ignore_eos": False}, 200),
            )
        )  # fmt: skip
        return await self.expect(CHAT, self.body(**more), status)

    async def sends_half_a_head(self):
        """Begin a request, and go away."""
        await self.raw(self.head(10)[: self.rng.randrange(60)])
        return "left"

    async def sends_half_a_body(self):
        """Begin a body, and go away."""
        await self.raw(self.head(1000) + b'{"messages": [')
        return "left"

    async def uses_other_endpoints(self):
        """Ask other protocols."""
        path, body = self.rng.choice(
            (
                ("/tokenize", {"content": "a b c"}), ("/v1/embeddings", {"input": ["a", "b c"]}),
                ("/v1/messages", {"messages": QUESTION, "max_tokens": 9}), ("/v1/responses", {"input": "Hi"}),
                ("/api/generate", {"model": "tiny", "prompt": "Hi", "stream": False, "options": {"num_predict": 9}}),
                ("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 5, "echo": True, "logprobs": 1}),
            )
        )  # fmt: skip
        return await self.expect(path, body, 200)

    async def has_no_key(self):
        """Ask without a key."""
        response = await self.http.get("/metrics", headers={"Authorization": "Bearer wrong"})
        if response.status_code != 401:
            raise Unexpected(f"has_no_key: {response.status_code}")
        return 401
