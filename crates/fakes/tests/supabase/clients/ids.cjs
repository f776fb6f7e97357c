// Drives a table whose ids are no numbers with the official JavaScript client, as an app does, and
// prints the events, one JSON object per line.

const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

const { url, anon: key, service: serviceKey, chosen } = JSON.parse(process.argv[2]);
const options = { realtime: { transport: WebSocket }, auth: { persistSession: false } };
const table = "typo_training_dataset";
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));
const signal = () => {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
};
const ROWS = 15;

async function main() {
  const client = createClient(url, key, options);
  const [subscribed, arrived, deleted] = [signal(), signal(), signal()];
  const channel = client.channel("typos");
  let rows = 0;
  channel.on("postgres_changes", { event: "INSERT", schema: "public", table }, (payload) => {
    say("row", { id: payload.new.id });
    rows += 1;
    if (rows === ROWS + 1) arrived.resolve();
  });
  channel.on("postgres_changes", { event: "DELETE", schema: "public", table }, (payload) => {
    say("deleted", { old: payload.old });
    deleted.resolve();
  });
  channel.on("system", {}, (payload) => {
    if (payload.status === "ok") subscribed.resolve();
  });
  channel.subscribe();
  await subscribed.promise;

  const pair = { typo: "toyta", corrected: "Toyota", domain: "brand" };
  const inserted = await client.from(table).insert(Array(ROWS).fill(pair)).select("id");
  const ids = inserted.data.map((row) => row.id);
  say("inserted", { ids });
  const own = await client.from(table).insert({ id: chosen, ...pair, typo: "hunday" }).select("id").single();
  say("chosen", { id: own.data?.id });
  await arrived.promise;

  const answer = async (name, query) => {
    const { data, error, status } = await query;
    say("answer", { name, ids: data?.map((row) => row.id), status, code: error?.code, message: error?.message });
    return data ?? [];
  };
  const read = () => client.from(table).select("id,created_at").eq("typo", "toyta");
  const found = await Promise.all(ids.map((id) => client.from(table).select("id").eq("id", id).single()));
  say("answer", { name: "eq", ids: found.map((one) => one.data?.id) });
  await answer("in", read().in("id", ids));
  await answer("order", read().order("id"));
  await answer("gt", read().gt("id", ids[0]).order("id"));
  await answer("lte", read().lte("id", ids[0]).order("id", { ascending: false }));
  await answer("taken id", client.from(table).insert({ id: ids[0], ...pair }));
  await answer("number", client.from(table).select("id").gt("id", 0));

  // As a reader does that has to see rows of one time once each.
  const quoted = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const seen = [];
  for (let last; ; ) {
    let page = read().order("created_at").order("id").limit(4);
    if (last) {
      const [time, id] = [quoted(last.created_at), quoted(last.id)];
      page = page.or(`created_at.gt.${time},and(created_at.eq.${time},id.gt.${id})`);
    }
    const { data, error } = await page;
    if (error) throw new Error(error.message);
    if (data.length === 0) break;
    seen.push(...data.map((row) => row.id));
    last = data.at(-1);
  }
  say("answer", { name: "keyset", ids: seen });

  const admin = createClient(url, serviceKey, options);
  await answer("update", admin.from(table).update({ typo: "tojota" }).eq("id", ids[1]).select("id"));
  await answer("delete", admin.from(table).delete().eq("id", ids[2]).select("id"));
  await deleted.promise;
  await client.removeAllChannels();
  client.realtime.disconnect();
}

setTimeout(() => (say("late"), process.exit(1)), 40_000).unref();
main().then(
  () => process.exit(0),
  (error) => {
    say("failed", { error: String(error) });
    process.exit(1);
  },
);
