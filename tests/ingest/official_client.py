"""Subscribes with the official client, inserts a pair over HTTP, and prints the events, one JSON object per line."""

import asyncio
import json
import sys
import urllib.request

from realtime import AsyncRealtimeClient

url, key, table = sys.argv[1:4]


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def insert():
    request = urllib.request.Request(
        f"{url}/rest/v1/{table}",
        data=json.dumps({"typo": "toyta", "corrected": "Toyota", "domain": "brand"}).encode(),
        headers={
            "apikey": key,
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Prefer": "return=representation",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)[0]["id"]


async def main():
    subscribed = asyncio.Event()
    arrived = asyncio.Event()
    closed = asyncio.Event()

    def on_row(payload):
        data = payload["data"]
        say("row", record=data["record"], type=str(getattr(data["type"], "value", data["type"])))
        arrived.set()

    def on_state(state, error):
        say("state", state=state.value)
        if state.value == "CLOSED":
            closed.set()

    def on_system(payload):
        say("system", message=payload.message)
        subscribed.set()

    client = AsyncRealtimeClient(f"{url}/realtime/v1", key)
    channel = client.channel("typos")
    channel.on_postgres_changes("INSERT", on_row, table=table, schema="public")
    channel.on_system(on_system)
    await channel.subscribe(on_state)
    await asyncio.wait_for(subscribed.wait(), 10)
    say("inserted", id=await asyncio.to_thread(insert))
    await asyncio.wait_for(arrived.wait(), 10)
    await channel.unsubscribe()
    await asyncio.wait_for(closed.wait(), 10)
    await client.close()


asyncio.run(asyncio.wait_for(main(), 40))
