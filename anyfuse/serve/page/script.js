// The page: images, options, a job, and what came of it.

import { findToken, follow, hasToken, imageUrl, json, request, save } from "./api.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const HISTORY = "anyfuse.history";
const STAGES = {
  "": "Waiting", load: "Loading the model", read: "Reading the images", align: "Aligning", deghost: "Looking for what moved",
  fuse: "Fusing", write: "Writing", measure: "Measuring",
};
const ORDER = ["load", "read", "align", "deghost", "fuse", "write", "measure"];
const METRICS = {
  qabf: ["Qabf", "edges kept"], ssim: ["SSIM", "structure kept"], mi: ["MI", "bits shared"],
  vif: ["VIF", "visual information"], en: ["EN", "entropy, bits"], sf: ["SF", "spatial frequency"],
};

const EMPTY = { title: $("empty-title").textContent, text: $("empty-text").textContent };

let images = []; // {key, name, file, id, facts, error}
let reference = null; // key of the marked image
let job = null; // id of the job that runs
let shown = null; // id of the job that is seen
let histograms = {};
let counter = 0;
let limits = { files: 30 };
const viewer = new Viewer($("canvas"), () => {
  $("percent").textContent = `${(100 * viewer.view.scale).toFixed(viewer.view.scale < 0.1 ? 1 : 0)} %`;
  $("divider").value = Math.round(100 * viewer.divider);
});

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

const say = (text) => { $("news").textContent = text; };
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

// ---- images

async function add(files) {
  problem("");
  const room = limits.files - images.length;
  const taken = [...files].slice(0, Math.max(0, room));
  if (files.length > taken.length) problem(`At most ${limits.files} images; ${files.length - taken.length} were left out.`);
  const fresh = taken.map((file) => ({ key: `k${counter++}`, name: file.name, file, id: null, facts: null, error: null, url: null }));
  images.push(...fresh);
  list();
  const waiting = [...fresh];
  await Promise.all([0, 1].map(async () => { // two at a time
    while (waiting.length) await send(waiting.shift());
  }));
  const good = fresh.filter((image) => image.id).length;
  say(`${good} of ${fresh.length} images are ready.`);
}

async function send(image) {
  if (!images.includes(image)) return;
  const form = new FormData();
  form.append("file", image.file, image.file.name);
  try {
    image.facts = await json("/v1/files", { method: "POST", body: form });
    image.id = image.facts.id;
    if (!images.includes(image)) return void forget(image);
    image.url = await imageUrl(`/v1/files/${image.id}/preview?size=192`);
  } catch (error) {
    image.error = error.message;
  }
  image.file = null;
  list();
}

function forget(image) {
  if (image.url) URL.revokeObjectURL(image.url);
  if (image.id) request(`/v1/files/${image.id}`, { method: "DELETE" }).catch(() => {});
}

function removeImage(image) {
  images = images.filter((one) => one !== image);
  if (reference === image.key) reference = null;
  forget(image);
  list();
  say(`${image.name} is removed.`);
  $("files").focus();
}

function row(image) {
  const facts = image.facts;
  const text = image.error?.replace(`${image.name}: `, "") || (facts
    ? `${facts.width}×${facts.height}, ${{ uint8: "8 bit", uint16: "16 bit", float32: "float" }[facts.depth]}${facts.pages > 1 ? `, ${facts.pages} pages` : ""}`
    : "reading …");
  const shot = image.url ? make("img", { className: "shot", src: image.url, alt: "" }) : make("span", { className: "shot" });
  const name = make("div", { title: image.name }, make("div", { className: "name", textContent: image.name }), make("div", { className: "help", textContent: text }));
  const mark = make("input", { type: "radio", name: "reference", value: image.key, checked: reference === image.key, disabled: !image.id });
  mark.setAttribute("aria-label", `${image.name} gives the frame and the metadata`);
  mark.addEventListener("change", () => { reference = image.key; });
  const gone = make("button", { type: "button", textContent: "×" });
  gone.setAttribute("aria-label", `Remove ${image.name}`);
  gone.addEventListener("click", () => removeImage(image));
  if (image.error) return make("li", { className: "thumb bad" }, name, gone);
  return make("li", { className: "thumb" }, shot, name, make("label", { className: "mark-it", title: "Frame and metadata" }, mark), gone);
}

function list() {
  const good = images.filter((image) => image.id);
  if (!good.some((image) => image.key === reference)) reference = good.length ? good[0].key : null;
  $("thumbs").replaceChildren(...images.map(row));
  $("clear").hidden = !images.length;
  $("reference-help").hidden = good.length < 2;
  $("empty-title").textContent = !good.length ? EMPTY.title : enough(good) ? "Press Fuse" : "Add another image of the same scene";
  $("empty-text").textContent = good.length ? "The result is seen here, beside each image." : EMPTY.text;
  const reading = images.some((image) => !image.id && !image.error);
  $("fuse").disabled = job !== null || reading || !enough(good);
}

/** Two images, one of several pages, or one with an instruction. */
const enough = (good) => good.length >= 2 || good.some((image) => image.facts.pages > 1 || $("say").value.trim());

function listenForFiles() {
  $("files").addEventListener("change", () => { add([...$("files").files]); $("files").value = ""; });
  $("clear").addEventListener("click", () => {
    images.forEach(forget);
    images = [];
    list();
    say("All images are removed.");
    $("files").focus();
  });
  let depth = 0;
  const over = (by) => { depth = by ? Math.max(0, depth + by) : 0; document.body.classList.toggle("dragging", depth > 0); };
  addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(0);
    if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
  });
}

// ---- the job

async function fuse(event) {
  event.preventDefault();
  problem("");
  const good = images.filter((image) => image.id);
  const form = new FormData();
  for (const image of good) form.append("file_ids", image.id);
  for (const name of ["model", "align", "say", "deghost", "format", "depth", "white", "range"]) form.append(name, $(name).value);
  for (const name of ["keep_frame", "resize"]) form.append(name, $(name).checked);
  form.append("reference", good.findIndex((image) => image.key === reference));
  busy(true);
  try {
    const sent = await json("/v1/fuse", { method: "POST", body: form });
    job = sent.id;
    list();
    progress(sent);
    const last = await follow(sent.id, progress);
    if (last.state === "done") {
      remember(last);
      await open(last.id);
      say("The images are fused.");
      $("canvas").focus({ preventScroll: true });
      $("viewer").scrollIntoView({ block: "nearest" });
    } else if (last.state === "cancelled") {
      say("Cancelled.");
    } else {
      problem(last.error);
    }
  } catch (error) {
    problem(error.message);
    if (error.status === 404) list();
  } finally {
    job = null;
    busy(false);
    list();
  }
}

function busy(is) {
  $("working").hidden = !is;
  $("cancel").hidden = !is;
  $("cancel").disabled = false;
  $("fuse").disabled = is;
  $("stage").textContent = is ? "Sending" : "";
  $("bar").value = 0;
}

let told = "";
function progress(state) {
  const text = state.state === "queued" ? (state.before ? `Waiting for ${state.before} other jobs` : "Waiting") : STAGES[state.stage] || state.stage;
  const share = state.stage === "fuse" && state.share > 0 && state.share < 1 ? ` ${Math.round(100 * state.share)} %` : "";
  $("stage").textContent = $("empty-title").textContent = text + share;
  $("bar").value = (Math.max(0, ORDER.indexOf(state.stage)) + state.share) / ORDER.length;
  if (text !== told) say(text);
  told = text;
}

async function cancel() {
  if (!job) return;
  $("cancel").disabled = true;
  try { await request(`/v1/jobs/${job}`, { method: "DELETE" }); } catch (error) { problem(error.message); }
}

// ---- the result

async function open(id) {
  const [state, report, counts] = await Promise.all(["", "/report", "/histograms"].map((part) => json(`/v1/jobs/${id}${part}`)));
  shown = id;
  const path = `/v1/jobs/${id}`;
  const sources = { Result: `${path}/preview` };
  const weights = {};
  const names = state.inputs.map((name, k) => `${k + 1} ${name}`);
  names.forEach((name, k) => {
    sources[name] = `${path}/inputs/${k}`;
    if (k < state.weights) weights[name] = `${path}/weights/${k}`;
  });
  fill($("left"), [...names, "Result"], names[0]);
  fill($("right"), ["Result", ...names], "Result");
  fill($("overlay"), ["", ...Object.keys(weights)], "", { "": "off" });
  for (const part of ["tools", "below", "facts", "canvas"]) $(part).hidden = false;
  $("empty").hidden = true;
  $("canvas").setAttribute("aria-label", `${state.inputs.length} images fused: ${state.inputs.join(", ")}`);
  viewer.open(state.width, state.height, sources, weights);
  viewer.choose($("left").value, $("right").value);
  histograms = { Result: counts.result };
  names.forEach((name, k) => { histograms[name] = counts[k]; });
  fill($("histogram-of"), Object.keys(histograms), "Result");
  drawHistogram();
  describe(state, report);
  listHistory();
}

function fill(select, names, chosen, labels = {}) {
  select.replaceChildren(...names.map((name) => make("option", { value: name, textContent: labels[name] ?? name })));
  select.value = chosen;
  select.closest("label").hidden = names.length < 2;
}

function describe(state, report) {
  const rows = [
    ["File", `${state.file}, ${report.width}×${report.height}, ${{ uint8: "8 bit", uint16: "16 bit", float32: "float" }[report.depth]}`],
    ["Model", report.model],
    ["Time", `${report.seconds.toFixed(2)} s fusing, ${state.seconds.toFixed(1)} s in all`],
  ];
  if (report.understood !== undefined) rows.push(["Understood", report.understood || "no request beyond fusion"]);
  for (const one of report.assumed?.faults || []) rows.push(["Assumed", `${one.fault} in ${one.image}, ${Math.round(100 * one.probability)} % sure`]);
  const moved = (report.aligned || []).filter((one) => one.kind !== "reference" && one.kind !== "none");
  if (report.aligned) rows.push(["Alignment", moved.length ? moved.map((one) => `${one.name}: ${one.kind}, ${one.shift.toFixed(1)} px`).join("; ") : "nothing moved"]);
  if (report.deghosted) rows.push(["Moved things", "taken from one image"]);
  for (const [name, one] of Object.entries(report.shown || {})) rows.push(["Highlighted", `${name}, ${(100 * (one.share ?? 0)).toFixed(1)} %`]);
  $("summary").replaceChildren(...rows.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })]));
  $("notes").replaceChildren(...report.warnings.map((text) => make("li", { textContent: text })));
  link($("download"), `/v1/jobs/${state.id}/result`, state.file);
  link($("report"), `/v1/jobs/${state.id}/report`, "report.json");
  const values = report.metrics?.values || [];
  $("metrics").tBodies[0].replaceChildren(...values.map(metric));
  const reduced = report.metrics?.reduced > 1 ? ` Measured on 1/${report.metrics.reduced} of the size.` : "";
  $("metrics-text").textContent = values.length ? `↑ more is better. Between results of the same images only.${reduced}` : "Not measured.";
}

function metric(one) {
  const [name, what] = METRICS[one.name] || [one.name, ""];
  const head = make("th", { scope: "row" }, `${name} ${one.better === "higher" ? "↑" : ""}`, make("span", { className: "help", textContent: what }));
  return make("tr", {}, head, make("td", { textContent: one.value === null ? "–" : one.value.toFixed(one.value < 10 ? 3 : 2) }));
}

function link(anchor, path, name) {
  anchor.href = path;
  anchor.download = name;
  anchor.onclick = hasToken() ? (event) => { event.preventDefault(); save(path, name).catch((error) => problem(error.message)); } : null;
}

function drawHistogram() {
  const channels = histograms[$("histogram-of").value] || [];
  const colours = channels.length === 3 ? ["red", "green", "blue"] : ["grey"];
  const inner = channels.flatMap((counts) => counts.slice(1, 255)).sort((a, b) => a - b);
  const top = Math.max(1, inner[Math.floor(0.995 * inner.length)] || 0, ...channels.map((c) => 0.02 * c.reduce((a, b) => a + b, 0) / 5));
  const paths = channels.map((counts, k) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const points = counts.map((count, value) => `${value} ${(100 - 96 * Math.min(1, count / top)).toFixed(1)}`);
    path.setAttribute("d", `M0 100 L${points.join(" L")} L256 100 Z`);
    path.style.fill = path.style.stroke = `var(--${colours[k]})`;
    return path;
  });
  $("histogram").replaceChildren(...paths);
  const all = channels.reduce((sum, counts) => sum.map((v, k) => v + counts[k]), new Array(256).fill(0));
  const total = all.reduce((a, b) => a + b, 0) || 1;
  const mean = all.reduce((sum, count, value) => sum + count * value, 0) / total;
  const percent = (count) => `${(100 * count / total).toFixed(1)} %`;
  const text = `Mean ${mean.toFixed(0)} of 255; ${percent(all[0])} black, ${percent(all[255])} white`;
  $("histogram").setAttribute("aria-label", `Histogram of ${$("histogram-of").value}. ${text}`);
  $("histogram-text").textContent = text;
}

// ---- what was done in this tab

const past = () => { try { return JSON.parse(sessionStorage.getItem(HISTORY)) || []; } catch { return []; } };
const store = (entries) => { try { sessionStorage.setItem(HISTORY, JSON.stringify(entries.slice(0, 20))); } catch { /* no room */ } };

function remember(state) {
  const title = state.inputs.length > 2 ? `${state.inputs[0]} and ${state.inputs.length - 1} more` : state.inputs.join(" + ");
  const when = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  store([{ id: state.id, title, text: `${state.options.model}, ${when}` }, ...past()]);
}

const shots = new Map();
function listHistory() {
  const entries = past();
  $("history-part").hidden = !entries.length;
  $("history").replaceChildren(...entries.map((entry) => {
    const shot = make("img", { className: "shot", alt: "" });
    if (!shots.has(entry.id)) shots.set(entry.id, imageUrl(`/v1/jobs/${entry.id}/preview?size=128`).catch(() => ""));
    shots.get(entry.id).then((url) => { if (url) shot.src = url; });
    const text = make("span", {}, make("span", { className: "text", textContent: entry.title }), make("span", { className: "help", textContent: entry.text }));
    const button = make("button", { type: "button", className: "open", title: entry.title }, shot, text);
    button.setAttribute("aria-current", String(entry.id === shown));
    button.addEventListener("click", () => { problem(""); open(entry.id).catch((error) => lost(entry, error)); });
    const gone = make("button", { type: "button", className: "gone", textContent: "×" });
    gone.setAttribute("aria-label", `Remove the result of ${entry.title}`);
    gone.addEventListener("click", () => drop(entry));
    return make("li", { className: "past" }, button, gone);
  }));
}

function lost(entry, error) {
  if (error.status === 404) {
    store(past().filter((one) => one.id !== entry.id));
    listHistory();
    problem("The server has removed that result.");
  } else {
    problem(error.message);
  }
}

async function drop(entry) {
  store(past().filter((one) => one.id !== entry.id));
  request(`/v1/jobs/${entry.id}`, { method: "DELETE" }).catch(() => {});
  if (entry.id === shown) {
    shown = null;
    viewer.close();
    for (const part of ["tools", "below", "facts", "canvas"]) $(part).hidden = true;
    $("empty").hidden = false;
  }
  listHistory();
  say("The result is removed.");
}

// ---- options

async function fillModels() {
  const models = await json("/v1/models");
  const chosen = $("model").value;
  const automatic = make("option", { value: "auto", textContent: "Automatic" });
  $("model").replaceChildren(automatic, ...models.map((one) => {
    const kinds = [one.restores && "restores", one.segments && "light, segments"].filter(Boolean).join(", ");
    return make("option", { value: one.name, textContent: `${one.name}${one.inputs === "2" ? " (2 images)" : ""}${kinds ? `: ${kinds}` : ""}` });
  }));
  $("model").value = models.some((one) => one.name === chosen) ? chosen : "auto";
}

let typing = null;
function understand() {
  clearTimeout(typing);
  list();
  const text = $("say").value.trim();
  const help = $("understood");
  if (!text) {
    help.className = "help";
    help.textContent = "What shall be repaired, made brighter or painted? Empty: fusion alone.";
    return;
  }
  typing = setTimeout(async () => {
    try {
      const answer = await json(`/v1/say?${new URLSearchParams({ text })}`);
      help.className = "help ok";
      help.textContent = `Understood: ${answer.tags || "no request beyond fusion"}`;
    } catch (error) {
      help.className = "help wrong";
      help.textContent = error.message;
    }
  }, 350);
}

function listenForOptions() {
  $("options").addEventListener("submit", fuse);
  $("cancel").addEventListener("click", cancel);
  $("say").addEventListener("input", understand);
}

function listenForView() {
  const choose = () => viewer.choose($("left").value, $("right").value);
  $("left").addEventListener("change", choose);
  $("right").addEventListener("change", choose);
  $("overlay").addEventListener("change", () => viewer.overlay($("overlay").value).catch((error) => problem(error.message)));
  for (const radio of document.querySelectorAll("input[name=mode]")) {
    radio.addEventListener("change", () => {
      $("divider-part").hidden = radio.value !== "slider";
      $("left").closest("label").hidden = radio.value === "single";
      viewer.setMode(radio.value);
    });
  }
  $("divider").addEventListener("input", () => viewer.setDivider($("divider").value / 100));
  $("in").addEventListener("click", () => viewer.zoomTo(viewer.view.scale * 1.5));
  $("out").addEventListener("click", () => viewer.zoomTo(viewer.view.scale / 1.5));
  $("fit").addEventListener("click", () => viewer.fit());
  $("one").addEventListener("click", () => viewer.zoomTo(1));
  $("histogram-of").addEventListener("change", drawHistogram);
}

async function begin() {
  findToken();
  listenForFiles();
  listenForOptions();
  listenForView();
  list();
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) $("local").textContent = `Images go to ${location.hostname} and nowhere else`;
  try {
    limits = (await json("/v1/status")).limits;
    $("most-files").textContent = limits.files;
    $("files-help").title = `at most ${size(limits.upload)} each`;
    await fillModels();
    listHistory();
  } catch (error) {
    problem(error.message);
  }
}

begin();
