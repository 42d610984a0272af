"use strict";
// Follows the folder: asks for the next state, shows it, and shows the chosen case beside what becomes of it. All text goes in as text.
const at = (id) => document.getElementById(id);
const made = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const named = (name) => decodeURIComponent((location.hash.match(new RegExp("[#&]" + name + "=([^&]*)")) || [])[1] || "");
// The place an author looks at lives in the address, so that it outlasts a save and a reload of the page.
let chosen = named("case");
let kept = named("at");
let shown = "";
// Key of a node -> the nodes it belongs with.
let others = new Map();

function remember() {
  const place = "#case=" + encodeURIComponent(chosen) + (kept ? "&at=" + encodeURIComponent(kept) : "");
  history.replaceState(null, "", place);
}

// A pane is scrolled by itself: `scrollIntoView` would move the page, too.
function reveal(node) {
  const pane = node.closest(".pane");
  const [inner, outer] = [node.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (inner.top < outer.top) pane.scrollTop -= outer.top - inner.top + 24;
  else if (inner.bottom > outer.bottom) pane.scrollTop += inner.bottom - outer.bottom + 24;
}

// Lights a node and what belongs to it, as long as it is pointed at (`lit`) or until let go (`kept`).
function light(node, name) {
  for (const lit of document.querySelectorAll("." + name)) lit.classList.remove(name);
  if (!node) return;
  const group = others.get(node.dataset.key) || [];
  for (const one of [node, ...group]) one.classList.add(name);
  if (group.length) reveal(group[0]);
}

function keep(node) {
  kept = node && node.dataset.key !== kept ? node.dataset.key : "";
  light(kept ? node : null, "kept");
  remember();
}

const links = (pane) => [...pane.querySelectorAll("[data-key]")];
const keyed = (key) => [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key);

// One stop of the Tab key for a pane; arrows go along it.
function stop(node) {
  for (const other of node.closest(".pane").querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
  node.tabIndex = 0;
}

for (const pane of document.querySelectorAll(".pane")) {
  const link = (event) => event.target.closest && event.target.closest("[data-key]");
  pane.addEventListener("mouseover", (event) => light(link(event), "lit"));
  pane.addEventListener("mouseleave", () => light(null, "lit"));
  pane.addEventListener("focusin", (event) => light(link(event), "lit"));
  pane.addEventListener("focusout", () => light(null, "lit"));
  pane.addEventListener("click", (event) => {
    const node = link(event);
    if (!node) return;
    keep(node);
    stop(node);
    node.focus({ preventScroll: true });
  });
  pane.addEventListener("keydown", (event) => {
    const node = link(event);
    if (!node) return;
    const all = links(pane);
    const here = all.indexOf(node);
    const to = { ArrowDown: here + 1, ArrowRight: here + 1, ArrowUp: here - 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined && all[to]) {
      stop(all[to]);
      all[to].focus();
    } else if (event.key === "Enter" || event.key === " ") keep(node);
    else if (to === undefined) return;
    event.preventDefault();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") keep(null);
});

// A path inside its resource; the number of an item only where there are more.
function shorten(path, many) {
  const inside = path.slice(path.indexOf(".") + 1);
  let whole = path.slice(0, path.indexOf("."));
  return inside.split(".").map((step) => {
    const name = step.replace(/\[\d+\]/g, "");
    whole += "." + name;
    const several = many.has(whole);
    whole += step.slice(name.length);
    return several ? step : name;
  }).join(".");
}

// Elements that repeat, by their path without its last number.
function repeating(elements) {
  const many = new Set();
  for (const element of elements) {
    for (const match of element.path.matchAll(/\[([1-9]\d*)\]/g)) many.add(element.path.slice(0, match.index));
  }
  return many;
}

function showCase(page) {
  const same = shown === page.name;
  const [source, target] = [at("source"), at("target")];
  const scrolled = [source.scrollTop, target.scrollTop];
  const focused = document.activeElement && document.activeElement.dataset.key;
  shown = page.name;
  at("document").textContent = page.name;
  source.replaceChildren();
  target.replaceChildren();
  others = new Map();
  const pieces = page.pieces.map((piece, number) => {
    const node = made("span", piece.path ? "field " + piece.state : "", piece.text.replace(/\r\n?/g, "\n"));
    if (piece.path) {
      node.title = piece.path + " (" + piece.state + ")";
      node.dataset.key = "source " + number;
      others.set(node.dataset.key, []);
    }
    source.append(node);
    return node;
  });
  const linked = (node, key, numbers) => {
    node.dataset.key = key;
    const behind = (numbers || []).map((number) => pieces[number]);
    others.set(key, behind);
    for (const piece of behind) others.get(piece.dataset.key).push(node);
  };
  const findings = (list, parent, key) => {
    list.forEach((finding, number) => {
      const node = made("div", "finding " + finding.severity);
      node.append(made("strong", "", finding.severity + " " + finding.code), " ", finding.text, " ", made("em", "", finding.remedy));
      node.title = finding.rule;
      linked(node, key + " finding " + number, finding.pieces);
      parent.append(node);
    });
  };
  page.units.forEach((unit, at) => {
    const part = made("section", "unit " + unit.state);
    const type = (unit.elements.find((element) => element.path.endsWith(".resourceType")) || {}).value || "";
    const heading = made("h3", "", type ? type + " " : "");
    heading.append(made("small", "", unit.label + " — " + unit.state));
    part.append(heading);
    findings(unit.findings, part, at + "");
    const many = repeating(unit.elements);
    for (const element of unit.elements) {
      if (element.path === type + ".resourceType") continue;
      const node = made("div", "element");
      const rule = made("span", "rule", (element.rule || "").split("/").pop());
      rule.title = element.rule || "";
      node.title = element.path;
      node.append(made("span", "", shorten(element.path, many)), made("span", "", element.value), rule);
      linked(node, at + " " + element.path, element.pieces);
      part.append(node);
    }
    target.append(part);
  });
  findings(page.findings, target, "document");
  if (page.left_out) target.append(made("p", "", page.left_out + " more are not shown."));
  for (const node of document.querySelectorAll("[data-key]")) {
    node.classList.add("link");
    node.tabIndex = -1;
  }
  for (const pane of [source, target]) {
    const first = links(pane)[0];
    if (first) first.tabIndex = 0;
  }
  if (same) [source.scrollTop, target.scrollTop] = scrolled;
  const again = same && focused && keyed(focused);
  if (again) {
    stop(again);
    again.focus({ preventScroll: true });
  }
  const still = kept && keyed(kept);
  if (still) {
    light(still, "kept");
    if (!same) reveal(still);
  } else kept = "";
  remember();
}

async function choose(name) {
  if (name !== chosen) kept = "";
  chosen = name;
  for (const button of at("cases").children) button.setAttribute("aria-pressed", String(button.dataset.name === name));
  const answer = await fetch("/case?name=" + encodeURIComponent(name));
  if (answer.ok) showCase(await answer.json());
}

async function show(state) {
  at("folder").textContent = state.folder;
  const failed = state.cases.filter((one) => !one.passed);
  const broken = state.problems.length > 0;
  at("summary").textContent = broken
    ? state.problems.length + " problem(s); the page shows the folder as soon as it compiles again"
    : state.cases.length - failed.length + " passed, " + failed.length + " failed, " + state.lints.length + " remark(s)";
  at("summary").className = broken || failed.length ? "failed" : "";
  document.title = (broken || failed.length ? "\u2717 " : "\u2713 ") + state.folder.split(/[\\/]/).filter(Boolean).pop();
  document.body.classList.toggle("stale", broken);
  const problems = at("problems");
  problems.replaceChildren(...state.problems.map((text) => made("pre", "", text)));
  for (const one of failed) problems.append(made("pre", "", one.name + "\n" + one.differences.join("\n")));
  problems.append(...state.lints.map((text) => made("pre", "remark", text)));
  problems.hidden = !problems.children.length;
  if (broken) return;
  const cases = at("cases");
  const focused = cases.contains(document.activeElement) && document.activeElement.dataset.name;
  cases.replaceChildren();
  for (const one of state.cases) {
    const button = made("button", one.passed ? "" : "failed", (one.passed ? "" : "\u2717 ") + one.name);
    button.type = "button";
    button.dataset.name = one.name;
    button.addEventListener("click", () => choose(one.name));
    cases.append(button);
    if (focused === one.name) button.focus();
  }
  const names = state.cases.map((one) => one.name);
  if (!names.includes(chosen)) chosen = (failed[0] || state.cases[0] || { name: "" }).name;
  if (chosen) await choose(chosen);
}

async function follow() {
  let number = 0;
  for (;;) {
    let told;
    try {
      told = await (await fetch("/state?after=" + number)).json();
    } catch (gone) {
      at("summary").textContent = "sluis map watch has ended; the page waits for it";
      at("summary").className = "failed";
      number = 0;
      await new Promise((later) => setTimeout(later, 1000));
      continue;
    }
    if (told.number !== number) {
      number = told.number;
      await show(told.state);
      document.body.dataset.state = number;
    }
  }
}
follow();
