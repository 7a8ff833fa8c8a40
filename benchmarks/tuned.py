"""A tuned peer: a process of many threads, each with a connection that is kept, and a call for each order.

python -m benchmarks.tuned --redis unix:///tmp/v.sock --address http://127.0.0.1:9000 --threads 64
"""

import argparse
import json
import threading

import requests
from redis import Redis

from benchmarks.naive_job import event

WAITING, DONE = "tuned:waiting", "tuned:done"


def main() -> None:
    """Works until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--threads", type=int, required=True)
    asked = parser.parse_args()
    for _ in range(asked.threads - 1):
        threading.Thread(target=_work, args=(asked.redis, asked.address), daemon=True).start()
    _work(asked.redis, asked.address)


def _work(redis: str, address: str) -> None:
    with Redis.from_url(redis) as client, requests.Session() as session:
        while True:
            _, body = client.blpop([WAITING])
            session.post(address, json={"data": [event(json.loads(body))]}, timeout=10).raise_for_status()
            client.incr(DONE)


if __name__ == "__main__":
    main()
