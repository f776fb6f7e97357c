// Drives the stand-in with the official JavaScript client, as an app does, and prints the events,
// one JSON object per line.

const { createClient, options, run, say, signal } = require("./official_client_base.cjs");

const [url, key, table, serviceKey] = process.argv.slice(2);

async function main() {
  const client = createClient(url, key, options);
  const [subscribed, arrived, deleted, closed] = [signal(), signal(), signal(), signal()];
  const channel = client.channel("typos");
  let rows = 0;
  channel.on("postgres_changes", { event: "INSERT", schema: "public", table }, (payload) => {
    say("row", { type: payload.eventType, row: payload.new, errors: payload.errors });
    rows += 1;
    if (rows === 3) arrived.resolve();
  });
  channel.on("postgres_changes", { event: "*", schema: "public", table }, (payload) => {
    if (payload.eventType !== "INSERT") {
      say("change", { type: payload.eventType, new: payload.new, old: payload.old, errors: payload.errors });
    }
    if (payload.eventType === "DELETE") deleted.resolve();
  });
  channel.on("system", {}, (payload) => {
    say("system", { status: payload.status, message: payload.message });
    if (payload.status === "ok") subscribed.resolve();
  });
  channel.subscribe((state) => {
    say("state", { state });
    if (state === "CLOSED") closed.resolve();
  });
  await subscribed.promise;

  const pair = { typo: "toyta", corrected: "Toyota", domain: "brand" };
  const plain = await client.from(table).insert(pair);
  say("inserted", { status: plain.status, error: plain.error, data: plain.data });
  const many = await client.from(table).insert([pair, { ...pair, typo: "tojota" }]).select("id");
  say("inserted", { status: many.status, error: many.error, data: many.data });
  await arrived.promise;

  const answer = async (name, query) => {
    const { data, count, error, status } = await query;
    say("answer", { name, data, count, status, code: error?.code, message: error?.message });
  };
  const read = () => client.from(table).select("id,typo");
  await answer("missing table", client.from("nowhere").select());
  await answer("missing column", client.from(table).select("nope"));
  await answer("unknown column written", client.from(table).insert({ nope: 1 }));
  await answer("taken id", client.from(table).insert([{ id: 50, ...pair }, { id: 1, ...pair }]));
  await answer("count", client.from(table).select("*", { count: "exact", head: true }));
  await answer("single of many", read().single());
  await answer("single", read().eq("id", 2).single());
  await answer("keyset", read().or("typo.gt.toyta,and(typo.eq.toyta,id.gt.1)").order("id", { ascending: false }));
  await answer("range", read().order("id").range(1, 1));
  await answer("in", read().in("typo", ["tojota", "a,b"]));

  const admin = createClient(url, serviceKey, options);
  const changed = { typo: "toiota" };
  await answer("update", admin.from(table).update(changed).eq("id", 2).select("id,typo"));
  await answer("update by anon", client.from(table).update(changed).eq("id", 3).select("id,typo"));
  await answer("update of all rows", admin.from(table).update(changed));
  await answer("unknown column updated", admin.from(table).update({ nope: 1 }).eq("id", 2));
  await answer("delete", admin.from(table).delete({ count: "exact" }).in("id", [3, 77]));
  await deleted.promise;

  say("ready");
  await closed.promise;
  await client.removeAllChannels();
  client.realtime.disconnect();
}

run(main);
