"""A destination for measurements: counts, and is healthy, slow to the byte, or throttling.

python -m benchmarks.destination --port 9000 --manner healthy --seconds 0.05
"""

import argparse
import asyncio
import json


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
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, manner: str, pause: float
) -> None:
    try:
        while True:
            count = len(json.loads(await _request(reader))["data"])
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
                writer.write(_answer("200 OK", accepted))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port: int, manner: str, pause: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, manner, pause), "127.0.0.1", port
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--manner", choices=("healthy", "drip", "throttle"), required=True)
    parser.add_argument("--seconds", type=float, default=0.05)
    asked = parser.parse_args()
    asyncio.run(_main(asked.port, asked.manner, asked.seconds))
