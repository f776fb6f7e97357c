"""Listens and talks with the official Python client, as a script does, and prints the outcome as one JSON object per
line."""

import ast
import asyncio
import json
import logging
import re
import sys

from supabase import acreate_client

keys = json.loads(sys.argv[1])
TABLE = "typo_training_dataset"


def say(name, outcome):
    print(json.dumps({"name": name, "outcome": outcome}))


async def take(queue, count):
    return [await queue.get() for _ in range(count)]


def plain(value):
    return str(getattr(value, "value", value))


def put_change(queue):
    def put(payload):
        data = payload["data"]
        queue.put_nowait(
            {
                "type": plain(data["type"]),
                "new": data.get("record") or {},
                "old": data.get("old_record") or {},
                "errors": data["errors"],
            }
        )

    return put


def put_system(queue):
    return lambda payload: queue.put_nowait({"status": plain(payload.status), "message": payload.message})


def put_state(queue):
    return lambda state, error: queue.put_nowait(state.value)


async def subscribe(client, name, changes, system, states, **filter):
    channel = client.channel(name)
    channel.on_postgres_changes("*", put_change(changes), **{"schema": "public", "table": TABLE, **filter})
    channel.on_system(put_system(system))
    await channel.subscribe(put_state(states))
    return channel


class Errors(logging.Handler):
    """The messages of errors, which the client only logs."""

    def __init__(self):
        super().__init__()
        self.queue = asyncio.Queue()

    def emit(self, record):
        found = re.fullmatch(r"channel .* error: (.*)", record.getMessage(), re.S)
        if found:
            payload = ast.literal_eval(found[1])
            self.queue.put_nowait({"status": payload["status"], "message": payload["message"]})


def row(id, typo):
    return {"id": id, "typo": typo, "corrected": "x", "domain": "y", "created_at": "2026-01-02T03:04:05.60"}


async def main():
    errors = Errors()
    logger = logging.getLogger("realtime")
    logger.setLevel(logging.INFO)
    logger.addHandler(errors)
    client = await acreate_client(keys["url"], keys["anon"])
    admin = await acreate_client(keys["url"], keys["service"])

    # Two channels on one socket.
    every, one, system, states = (asyncio.Queue() for _ in range(4))
    await subscribe(client, "all", every, system, states)
    await subscribe(client, "one", one, system, states, filter="id=in.(2,5)")
    say("states", await take(states, 2))
    say("subscribed", await take(system, 2))

    await admin.table(TABLE).insert([row(1, "a"), row(2, "b")]).execute()
    say("inserted", await take(every, 2))
    say("inserted, filtered", await take(one, 1))
    await admin.table(TABLE).upsert(row(2, "c")).execute()
    say("updated", [(await every.get())["new"]["typo"], (await one.get())["new"]["typo"]])
    await admin.table(TABLE).delete().in_("id", [1, 2]).execute()
    say("deleted", await take(every, 2))
    say("deleted, filtered", await take(one, 1))

    # Subscriptions that fail: the channel stays open.
    for name, filter in [
        ("other table", {"table": "other"}),
        ("missing column", {"filter": "nope=eq.1"}),
        ("wrong operand", {"filter": "id=eq.x"}),
        ("wrong operator", {"filter": "id=foo.1"}),
    ]:
        channel = await subscribe(client, name, *(asyncio.Queue() for _ in range(3)), **filter)
        say(name, await take(errors.queue, 1))
        await channel.unsubscribe()

    # Broadcasts.
    other = await acreate_client(keys["url"], keys["anon"])
    heard, own, joined, left, ready = (asyncio.Queue() for _ in range(5))
    there = other.channel("room", {"config": {"broadcast": {"ack": False, "self": False}, "presence": {"key": "there", "enabled": True}, "private": False}})
    there.on_broadcast("chat", lambda payload: heard.put_nowait({"event": payload["event"], "payload": payload["payload"]}))
    there.on_presence_join(lambda key, _, new: joined.put_nowait({"key": key, "mood": new[0]["mood"]}))
    there.on_presence_leave(lambda key, _, gone: left.put_nowait(key))
    await there.subscribe(put_state(ready))
    await ready.get()
    here = client.channel("room", {"config": {"broadcast": {"ack": True, "self": True}, "presence": {"key": "here", "enabled": True}, "private": False}})
    here.on_broadcast("chat", lambda payload: own.put_nowait(payload["payload"]))
    await here.subscribe(put_state(ready))
    await ready.get()
    await here.send_broadcast("chat", {"text": "hello"})
    say("heard", await take(heard, 1))
    say("heard itself", await take(own, 1))

    # Presences.
    await here.track({"mood": "good"})
    say("joined", await take(joined, 1))
    await here.untrack()
    say("left", await take(left, 1))

    # Tokens of users.
    signed = await acreate_client(keys["url"], keys["anon"])
    fresh = asyncio.Queue()
    await subscribe(signed, "signed", asyncio.Queue(), fresh, asyncio.Queue())
    await fresh.get()
    await signed.realtime.set_auth(keys["user"])
    say("new token", await take(fresh, 1))
    await signed.realtime.set_auth(keys["expired"])
    refused = await errors.queue.get()
    say("expired token", {**refused, "message": re.sub("[0-9]+", "N", refused["message"])})


asyncio.run(asyncio.wait_for(main(), 40))
