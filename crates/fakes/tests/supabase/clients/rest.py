"""Reads and writes with the official Python client, as a script does, and prints each answer as one JSON object per
line."""

import json
import sys

from postgrest.exceptions import APIError
from supabase import ClientOptions, create_client

keys = json.loads(sys.argv[1])
TABLE = "typo_training_dataset"
TIME = "2026-01-02T03:04:05.678900+00:00"


def connect(key, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return create_client(keys["url"], key, ClientOptions(headers=headers))


def say(name, query):
    try:
        answer = query().execute()
        told = {"data": answer.data, "count": answer.count, "error": None} if answer else {"data": None, "error": None}
    except APIError as error:
        told = {"error": {"code": error.code, "message": error.message, "details": error.details, "hint": error.hint}}
    print(json.dumps({"name": name, **told}))


def pair(id, typo, corrected, domain="brand"):
    return {"id": id, "typo": typo, "corrected": corrected, "domain": domain}


client = connect(keys["service"])


def rows():
    return client.table(TABLE)


say("insert", lambda: rows().insert({**pair(1, "toyta", "Toyota"), "created_at": TIME}, returning="minimal"))
say("insert many", lambda: rows().insert([pair(2, "hunday", "Hyundai"), pair(3, "a,b(c", None)]))
say("upsert", lambda: rows().upsert([pair(2, "hundai", "Hyundai"), pair(4, "vovlo", "Volvo", None)]))
say("upsert, ignored", lambda: rows().upsert(pair(2, "x", "y"), on_conflict="id", ignore_duplicates=True))
say("upsert, repeated", lambda: rows().upsert([pair(9, "x", "y"), pair(9, "x", "z")]))
say("upsert, no index", lambda: rows().upsert(pair(2, "x", "y"), on_conflict="typo"))
say("taken", lambda: rows().insert([pair(8, "x", "y"), pair(1, "x", "y")]))
say("null id", lambda: rows().insert({**pair(None, "x", "y"), "created_at": TIME}))
say("wrong number", lambda: rows().insert({"id": "x"}))
say("large number", lambda: rows().insert({"id": 9223372036854775808}))
say("wrong date", lambda: rows().insert({"created_at": "2026-13-01"}))
say("unknown column", lambda: rows().insert({"nope": 1}))

say("eq", lambda: rows().select("id", "name:typo", "text:id::text", "created_at").eq("id", 1))
say("in", lambda: rows().select("id").in_("typo", ["a,b(c", "vovlo"]).order("id"))
say("or", lambda: rows().select("id").or_('typo.eq."a,b(c",and(id.gt.1,typo.like.hun*)').order("id"))
say("not", lambda: rows().select("id").not_.in_("id", [1, 2]).order("id", desc=True))
say("is null", lambda: rows().select("id").is_("domain", "null"))
say("like", lambda: rows().select("id").like("corrected", "%o%").order("id"))
say("ilike", lambda: rows().select("id").ilike("corrected", "t%"))
say("match", lambda: rows().select("id").match({"typo": "hundai", "domain": "brand"}))
say("regex", lambda: rows().select("id").filter("typo", "match", "^[hv]").order("id"))
say("range", lambda: rows().select("id", count="exact").order("id").range(1, 2))
say("beyond", lambda: rows().select("id", count="exact").range(10, 12))
say("count", lambda: rows().select("*", count="exact", head=True).gt("id", 1))
say("nulls first", lambda: rows().select("id").order("corrected", nullsfirst=True).order("id").limit(2))
say("single", lambda: rows().select("id").eq("id", 2).single())
say("single of none", lambda: rows().select("id").eq("id", 77).single())
say("single of many", lambda: rows().select("id").single())
say("maybe single", lambda: rows().select("id").eq("id", 77).maybe_single())
say("csv", lambda: rows().select("id,typo,created_at").eq("id", 1).csv())
say("missing column", lambda: rows().select("typ"))
say("missing table", lambda: client.table("typo_trainingdataset").select("*"))
say("missing relation", lambda: rows().select("id, brands(name)"))
say("wrong operand", lambda: rows().select("id").eq("id", "x"))
say("wrong filter", lambda: rows().select("id").filter("id", "noop", "0"))
say("wrong operator", lambda: rows().select("id").like("id", "1%"))
say("aggregate", lambda: rows().select("id.max()"))
say("other schema", lambda: client.schema("other").table(TABLE).select("*"))
say("function", lambda: client.rpc("nope", {}))

say("update", lambda: rows().update({"typo": "vovo"}).eq("id", 4))
say("update of none", lambda: rows().update({"typo": "x"}).eq("id", 77))
say("update of all", lambda: rows().update({"typo": "x"}))
say("update to a taken id", lambda: rows().update({"id": 1}).eq("id", 4))
say("count of deleted", lambda: rows().delete(count="exact", returning="minimal").in_("id", [3, 77]))
say("deleted", lambda: rows().delete().eq("id", 4))
say("left", lambda: rows().select("id,typo").order("id"))

for name, key, token in [
    ("anon", keys["anon"], None),
    ("publishable", keys["publishable"], None),
    ("secret", keys["secret"], None),
    ("expired", keys["publishable"], keys["expired"]),
    ("no token", keys["publishable"], "sb_secret_other"),
]:
    say(f"key: {name}", lambda: connect(key, token).table(TABLE).update({"domain": "car"}).eq("id", 2))
