"""Subscribes with the official client, inserts, changes and deletes a pair over HTTP, and prints the events, one JSON
object per line."""

import asyncio
import json
import sys
import urllib.request

from realtime import AsyncRealtimeClient

url, key, table, service_key = sys.argv[1:5]


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def write(method, query, body, key):
    request = urllib.request.Request(
        f"{url}/rest/v1/{table}{query}",
        method=method,
        data=json.dumps(body).encode() if body else None,
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
    deleted = asyncio.Event()
    closed = asyncio.Event()

    def on_row(payload):
        data = payload["data"]
        say("row", record=data["record"], type=str(getattr(data["type"], "value", data["type"])))
        arrived.set()

    def on_change(payload):
        data = payload["data"]
        kind = str(getattr(data["type"], "value", data["type"]))
        say("change", type=kind, record=data.get("record"), old_record=data.get("old_record"))
        if kind == "DELETE":
            deleted.set()

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
    channel.on_postgres_changes("UPDATE", on_change, table=table, schema="public")
    channel.on_postgres_changes("DELETE", on_change, table=table, schema="public")
    channel.on_system(on_system)
    await channel.subscribe(on_state)
    await asyncio.wait_for(subscribed.wait(), 10)
    pair = {"typo": "toyta", "corrected": "Toyota", "domain": "brand"}
    id = await asyncio.to_thread(write, "POST", "", pair, key)
    say("inserted", id=id)
    await asyncio.wait_for(arrived.wait(), 10)
    await asyncio.to_thread(write, "PATCH", f"?id=eq.{id}", {"typo": "tojota"}, service_key)
    # The server drops the event of a row that is gone when it looks.
    await asyncio.sleep(0.5)
    await asyncio.to_thread(write, "DELETE", f"?id=eq.{id}", None, service_key)
    await asyncio.wait_for(deleted.wait(), 10)
    await channel.unsubscribe()
    await asyncio.wait_for(closed.wait(), 10)
    await client.close()


asyncio.run(asyncio.wait_for(main(), 40))
