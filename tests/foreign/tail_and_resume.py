"""Tails an event stream with httpx-sse, breaks off, resumes, and prints every id that it saw, one a line.

usage: tail_and_resume.py URL TOKEN FIRST COUNT
"""

import sys

import httpx
from httpx_sse import connect_sse


def read(client, url, token, cursor, count):
    headers = {"Authorization": f"Bearer {token}"}
    if cursor is not None:
        headers["Last-Event-ID"] = cursor
    seen = []
    with connect_sse(client, "GET", url, headers=headers) as source:
        source.response.raise_for_status()
        for event in source.iter_sse():
            if not event.data:
                sys.exit(f"an empty event was delivered after {seen[-1:]}")
            if event.json()["seq"] != int(event.id):
                sys.exit(f"id {event.id} carries seq {event.json()['seq']}")
            seen.append(event.id)
            if len(seen) == count:
                return seen
    return seen


def main():
    url, token, first, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    with httpx.Client(timeout=30) as client:
        seen = read(client, f"{url}?from={first}", token, None, count // 2)
        seen += read(client, url, token, seen[-1], count - len(seen))
    print("\n".join(seen))


main()
