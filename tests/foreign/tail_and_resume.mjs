// Tails an event stream with the npm package `eventsource`, whose own reconnect goes on from the last id. Prints every
// id that it saw, one a line, and `open` on stderr at each (re)connect.
//
// Each connection takes the token that server.json holds by then, as a server has a new one after a restart.
//
// usage: node tail_and_resume.mjs URL COUNT SERVER_JSON
import { readFileSync } from "node:fs";
import { EventSource } from "eventsource";

const [url, count, runtimeFile] = process.argv.slice(2);
const seen = [];
const source = new EventSource(url, {
  fetch: async (input, init) => {
    const { token } = JSON.parse(readFileSync(runtimeFile, "utf8"));
    return fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });
  },
});
source.onopen = () => console.error("open");
source.addEventListener("custom", (event) => {
  if (JSON.parse(event.data).seq !== Number(event.lastEventId)) {
    console.error(`id ${event.lastEventId} carries ${event.data}`);
    process.exit(1);
  }
  seen.push(event.lastEventId);
  console.log(event.lastEventId);
  if (seen.length === Number(count)) {
    source.close();
    process.exit(0);
  }
});
setTimeout(() => {
  console.error("timed out");
  process.exit(1);
}, 30_000);
