// What the scripts that drive the stand-in with the official JavaScript client share.

const { createClient } = require("@supabase/supabase-js");
const WebSocket = require("ws");

// Node.js before version 22 has no built-in WebSocket.
const options = { realtime: { transport: WebSocket }, auth: { persistSession: false } };

// Prints an event as one JSON object on one line.
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));

const signal = () => {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
};

// Runs a script to its end, and ends the process, after a time limit with a failure.
const run = (main) => {
  setTimeout(() => {
    say("late");
    process.exit(1);
  }, 40_000).unref();
  main().then(
    () => process.exit(0),
    (error) => {
      say("failed", { error: String(error) });
      process.exit(1);
    },
  );
};

module.exports = { createClient, options, run, say, signal };
