"use strict";
// Follows the folder: asks for the next state, shows it, and shows the chosen case beside what becomes of it. All text goes in as text.
const at = (id) => document.getElementById(id);
const made = (name, className, text) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
let chosen = decodeURIComponent((location.hash.match(/case=([^&]*)/) || [])[1] || "");
let pinned = decodeURIComponent((location.hash.match(/element=([^&]*)/) || [])[1] || "");
let links = [];

function light(nodes, on) {
  for (const node of nodes) node.classList.toggle("lit", on);
}

// Either side lights the other: `link` is an element (or finding) and the pieces its rule stood on.
function hover(node, others) {
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) {
    node.addEventListener(name, () => {
      light([node, ...others()], on);
      const first = others()[0];
      if (on && first) first.scrollIntoView({ block: "nearest" });
    });
  }
}

function showCase(page) {
  at("document").textContent = page.name;
  const source = at("source");
  const target = at("target");
  source.replaceChildren();
  target.replaceChildren();
  links = [];
  const pieces = page.pieces.map((piece, number) => {
    const node = made("span", piece.path ? "field " + piece.state : "", piece.text.replace(/\r\n?/g, "\n"));
    if (piece.path) {
      node.title = piece.path + " (" + piece.state + ")";
      node.dataset.piece = number;
      node.tabIndex = 0;
      hover(node, () => links.filter((link) => link.pieces.includes(number)).map((link) => link.node));
    }
    source.append(node);
    return node;
  });
  const linked = (node, numbers) => {
    links.push({ node, pieces: numbers || [] });
    node.tabIndex = 0;
    hover(node, () => (numbers || []).map((number) => pieces[number]));
  };
  const findings = (list, parent) => {
    for (const finding of list) {
      const node = made("div", "finding " + finding.severity);
      node.append(made("strong", "", finding.severity + " " + finding.code), " ", finding.text, " ", made("em", "", finding.remedy));
      linked(node, finding.pieces);
      parent.append(node);
    }
  };
  for (const unit of page.units) {
    target.append(made("h3", unit.state, unit.label + " — " + unit.state));
    findings(unit.findings, target);
    for (const element of unit.elements) {
      const node = made("div", "element");
      node.dataset.path = element.path;
      node.append(made("span", "", element.path), made("span", "", element.value), made("span", "rule", element.rule || ""));
      linked(node, element.pieces);
      target.append(node);
      if (pinned && pinned === element.path) {
        light([node, ...(element.pieces || []).map((number) => pieces[number])], true);
        pinned = "";
      }
    }
  }
  findings(page.findings, target);
  if (page.left_out) target.append(made("p", "", page.left_out + " more are not shown."));
}

async function choose(name) {
  chosen = name;
  for (const button of at("cases").children) button.setAttribute("aria-pressed", String(button.dataset.name === name));
  const answer = await fetch("/case?name=" + encodeURIComponent(name));
  if (answer.ok) showCase(await answer.json());
}

async function show(state) {
  at("folder").textContent = state.folder;
  const failed = state.cases.filter((one) => !one.passed);
  at("summary").textContent = state.problems.length
    ? state.problems.length + " problem(s); the page shows the folder as soon as it compiles again"
    : state.cases.length - failed.length + " passed, " + failed.length + " failed, " + state.lints.length + " remark(s)";
  const problems = at("problems");
  problems.replaceChildren(...state.problems.map((text) => made("pre", "", text)));
  for (const one of failed) problems.append(made("pre", "", one.name + "\n" + one.differences.join("\n")));
  problems.append(...state.lints.map((text) => made("pre", "remark", text)));
  if (state.problems.length) return;
  const cases = at("cases");
  cases.replaceChildren();
  for (const one of state.cases) {
    const button = made("button", one.passed ? "" : "failed", one.name);
    button.dataset.name = one.name;
    button.addEventListener("click", () => choose(one.name));
    cases.append(button);
  }
  const names = state.cases.map((one) => one.name);
  if (!names.includes(chosen)) chosen = names[0] || "";
  if (chosen) await choose(chosen);
}

// `#once` shows the state there is and asks for no other.
async function follow() {
  let number = 0;
  for (let round = 0; round === 0 || !location.hash.includes("once"); round += 1) {
    try {
      const told = await (await fetch("/state?after=" + number)).json();
      if (told.number !== number) {
        number = told.number;
        await show(told.state);
        document.body.dataset.state = number;
      }
    } catch (gone) {
      at("summary").textContent = "sluis map watch has ended";
      await new Promise((later) => setTimeout(later, 1000));
    }
  }
}
follow();
