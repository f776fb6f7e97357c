// Listens and talks with the official JavaScript client, as an app does, and prints the outcome as one JSON object
// per line.

const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

const { url, service, anon, user, expired } = JSON.parse(process.argv[2]);
const options = { realtime: { transport: WebSocket }, auth: { persistSession: false } };
const table = "typo_training_dataset";
const say = (name, outcome) => console.log(JSON.stringify({ name, outcome }));

// A list that can be waited for.
const list = () => {
  const items = [];
  let wake = () => {};
  return {
    push: (item) => (items.push(item), wake()),
    take: async (count) => {
      while (items.length < count) await new Promise((resolve) => (wake = resolve));
      return items.splice(0, count);
    },
  };
};

const changes = (channel, filter, to) =>
  channel.on("postgres_changes", { event: "*", schema: "public", table, ...filter }, (payload) =>
    to.push({ type: payload.eventType, new: payload.new, old: payload.old, errors: payload.errors }),
  );

async function main() {
  const client = createClient(url, anon, options);
  const admin = createClient(url, service, options);

  // Two channels on one socket.
  const [every, one, system, states] = [list(), list(), list(), list()];
  const all = changes(client.channel("all"), {}, every).on("system", {}, ({ status, message }) => system.push({ status, message }));
  all.subscribe((state) => states.push(state));
  const filtered = changes(client.channel("one"), { filter: "id=in.(2,5)" }, one).on("system", {}, ({ status, message }) => system.push({ status, message }));
  filtered.subscribe((state) => states.push(state));
  say("states", await states.take(2));
  say("subscribed", await system.take(2));

  const rows = () => admin.from(table);
  const row = (id, typo) => ({ id, typo, corrected: "x", domain: "y", created_at: "2026-01-02T03:04:05.60" });
  await rows().insert([row(1, "a"), row(2, "b")]);
  say("inserted", await every.take(2));
  say("inserted, filtered", await one.take(1));
  await rows().upsert(row(2, "c"));
  say("updated", [(await every.take(1))[0].new.typo, (await one.take(1))[0].new.typo]);
  await rows().delete().in("id", [1, 2]);
  say("deleted", await every.take(2));
  say("deleted, filtered", await one.take(1));

  // Subscriptions that fail: the channel stays open.
  for (const [name, filter] of [
    ["other table", { table: "other" }],
    ["missing column", { filter: "nope=eq.1" }],
    ["wrong operand", { filter: "id=eq.x" }],
    ["wrong operator", { filter: "id=foo.1" }],
  ]) {
    const failed = list();
    const channel = changes(client.channel(name), filter, list()).on("system", {}, ({ status, message }) => failed.push({ status, message }));
    channel.subscribe();
    say(name, await failed.take(1));
    await client.removeChannel(channel);
  }

  // Broadcasts.
  const other = createClient(url, anon, options);
  const [heard, own, ready] = [list(), list(), list()];
  const there = other.channel("room", { config: { presence: { key: "there" } } });
  there.on("broadcast", { event: "chat" }, ({ event, payload }) => heard.push({ event, payload }));
  const [joined, left] = [list(), list()];
  there.on("presence", { event: "join" }, ({ key, newPresences }) => joined.push({ key, mood: newPresences[0].mood }));
  there.on("presence", { event: "leave" }, ({ key }) => left.push(key));
  there.subscribe((state) => ready.push(state));
  await ready.take(1);
  const here = client.channel("room", { config: { broadcast: { ack: true, self: true }, presence: { key: "here" } } });
  here.on("broadcast", { event: "chat" }, ({ payload }) => own.push(payload));
  here.subscribe((state) => ready.push(state));
  await ready.take(1);
  say("acknowledged", await here.send({ type: "broadcast", event: "chat", payload: { text: "hello" } }));
  say("heard", await heard.take(1));
  say("heard itself", await own.take(1));

  // Presences.
  say("tracked", await here.track({ mood: "good" }));
  say("joined", await joined.take(1));
  say("untracked", await here.untrack());
  say("left", await left.take(1));

  // Tokens of users.
  const signed = createClient(url, anon, options);
  const fresh = list();
  const channel = changes(signed.channel("signed"), {}, list()).on("system", {}, ({ status, message }) => fresh.push({ status, message }));
  channel.subscribe();
  await fresh.take(1);
  await signed.realtime.setAuth(user);
  say("new token", await fresh.take(1));
  await signed.realtime.setAuth(expired);
  const [{ status, message }] = await fresh.take(1);
  say("expired token", { status, message: message.replace(/[0-9]+/, "N") });
}

setTimeout(() => (say("late"), process.exit(1)), 40_000).unref();
main().then(
  () => process.exit(0),
  (error) => {
    say("failed", String(error));
    process.exit(1);
  },
);
