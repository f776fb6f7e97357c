// Reads and writes with the official JavaScript client, as an app does, and prints each answer as one JSON object
// per line.

const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

const { url, service, anon, secret, publishable, expired } = JSON.parse(process.argv[2]);
const options = { realtime: { transport: WebSocket }, auth: { persistSession: false } };
const table = "typo_training_dataset";

async function main() {
  const client = createClient(url, service, options);
  const rows = () => client.from(table);
  const say = async (name, query) => {
    const { data, count, error, status } = await query;
    const told = error && { code: error.code, message: error.message, details: error.details, hint: error.hint };
    console.log(JSON.stringify({ name, status, data, count, error: told }));
  };
  const pair = (id, typo, corrected, domain = "brand") => ({ id, typo, corrected, domain });
  const time = "2026-01-02T03:04:05.678900+00:00";

  await say("insert", rows().insert({ ...pair(1, "toyta", "Toyota"), created_at: time }));
  await say("insert many", rows().insert([pair(2, "hunday", "Hyundai"), pair(3, "a,b(c", null)]).select("id,typo"));
  await say("insert nothing", rows().insert([]).select());
  await say("upsert", rows().upsert([pair(2, "hundai", "Hyundai"), pair(4, "vovlo", "Volvo", null)]).select("id,typo"));
  await say("upsert, ignored", rows().upsert(pair(2, "x", "y"), { onConflict: "id", ignoreDuplicates: true }).select("id"));
  await say("upsert, repeated", rows().upsert([pair(9, "x", "y"), pair(9, "x", "z")]));
  await say("upsert, no index", rows().upsert(pair(2, "x", "y"), { onConflict: "typo" }));
  await say("taken", rows().insert([pair(8, "x", "y"), pair(1, "x", "y")]));
  await say("null id", rows().insert({ ...pair(null, "x", "y"), created_at: time }));
  await say("wrong number", rows().insert({ id: "x" }));
  await say("large number", rows().insert({ id: "9223372036854775808" }));
  await say("wrong date", rows().insert({ created_at: "2026-13-01" }));
  await say("unknown column", rows().insert({ nope: 1 }));

  await say("eq", rows().select("id, name:typo, text:id::text, created_at").eq("id", 1));
  await say("in", rows().select("id").in("typo", ["a,b(c", "vovlo"]).order("id"));
  await say("or", rows().select("id").or('typo.eq."a,b(c",and(id.gt.1,typo.like.hun*)').order("id"));
  await say("not", rows().select("id").not("id", "in", "(1,2)").order("id", { ascending: false }));
  await say("is null", rows().select("id").is("domain", null));
  await say("like", rows().select("id").like("corrected", "%o%").order("id"));
  await say("ilike", rows().select("id").ilike("corrected", "t%"));
  await say("match", rows().select("id").match({ typo: "hundai", domain: "brand" }));
  await say("regex", rows().select("id").filter("typo", "match", "^[hv]").order("id"));
  await say("range", rows().select("id", { count: "exact" }).order("id").range(1, 2));
  await say("beyond", rows().select("id", { count: "exact" }).range(10, 12));
  await say("count", rows().select("*", { count: "exact", head: true }).gt("id", 1));
  await say("nulls first", rows().select("id").order("corrected", { nullsFirst: true }).order("id").limit(2));
  await say("nulls last", rows().select("id").order("corrected", { ascending: false, nullsFirst: false }).limit(1));
  await say("single", rows().select("id").eq("id", 2).single());
  await say("single of none", rows().select("id").eq("id", 77).single());
  await say("single of many", rows().select("id").single());
  await say("maybe single", rows().select("id").eq("id", 77).maybeSingle());
  await say("csv", rows().select("id,typo,created_at").eq("id", 1).csv());
  await say("missing column", rows().select("typ"));
  await say("missing table", client.from("typo_trainingdataset").select());
  await say("missing relation", rows().select("id, brands(name)"));
  await say("wrong operand", rows().select("id").eq("id", "x"));
  await say("wrong filter", rows().select("id").filter("id", "noop", "0"));
  await say("wrong operator", rows().select("id").like("id", "1%"));
  await say("aggregate", rows().select("id.max()"));
  await say("other schema", client.schema("other").from(table).select());
  await say("function", client.rpc("nope"));

  await say("update", rows().update({ typo: "vovo" }).eq("id", 4).select("id,typo"));
  await say("update of none", rows().update({ typo: "x" }).eq("id", 77).select());
  await say("update of all", rows().update({ typo: "x" }));
  await say("update to a taken id", rows().update({ id: 1 }).eq("id", 4));
  await say("single of many updated", rows().update({ typo: "x" }).gt("id", 0).select("id").single());
  await say("count of deleted", rows().delete({ count: "exact" }).in("id", [3, 77]));
  await say("deleted", rows().delete().eq("id", 4).select("id,typo"));
  await say("left", rows().select("id,typo").order("id"));

  const as = (key, token) =>
    createClient(url, key, token ? { ...options, global: { headers: { Authorization: `Bearer ${token}` } } } : options);
  for (const [name, key, token] of [
    ["anon", anon],
    ["publishable", publishable],
    ["secret", secret],
    ["invalid", "nobody"],
    ["unregistered", "sb_secret_other"],
    ["expired", publishable, expired],
    ["no token", publishable, "sb_secret_other"],
  ]) {
    await say(`key: ${name}`, as(key, token).from(table).update({ domain: "car" }).eq("id", 2).select("domain"));
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.log(JSON.stringify({ name: "failed", error: String(error) }));
    process.exit(1);
  },
);
