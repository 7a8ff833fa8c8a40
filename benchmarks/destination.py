"""A destination for measurements: counts, and is healthy, slow to the byte, or throttling.

An event that is refused takes its batch with it, as Meta's do: no word says which one it was.

python -m benchmarks.destination --port 9000 --manner healthy --seconds 0.05
"""

import argparse
import asyncio
import json

_REFUSED = b'{"error":{"message":"Invalid parameter","type":"OAuthException","code":100,"fbtrace_id":"b"}}'


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    return await reader.readexactly(length)


def _answer(status: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manner: str, pause: float, refused: bytes
) -> None:
    try:
        while True:
            body = await _request(reader)
            count = body.count(b'"event_name"')  # reading all of it would cost more than sending it
            accepted = json.dumps({"events_received": count, "messages": [], "fbtrace_id": "b"}).encode()
            if manner == "throttle":
                writer.write(_answer("429 Too Many Requests", b"{}", "Retry-After: 1\r\n"))
            elif manner == "drip":
                for byte in _answer("200 OK", accepted):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
            else:
                await asyncio.sleep(pause)
                is_bad = bool(refused) and refused in body
                writer.write(_answer("400 Bad Request", _REFUSED) if is_bad else _answer("200 OK", accepted))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port: int, manner: str, pause: float, refused: bytes) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, manner, pause, refused), "127.0.0.1", port
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--manner", choices=("healthy", "drip", "throttle"), required=True)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--refused", default="", help="the id of an event that is refused")
    asked = parser.parse_args()
    asyncio.run(_main(asked.port, asked.manner, asked.seconds, asked.refused.encode()))
