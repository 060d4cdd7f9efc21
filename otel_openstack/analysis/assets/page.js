// SPDX-License-Identifier: Apache-2.0
"use strict";
// Everything recorded is hostile: it reaches the page through `show` and textContent, never as markup, address or style.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const NS_PER_SECOND = 1e9;

  // -- text and numbers

  const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
  const escapeChar = (char) => "\\u{" + char.codePointAt(0).toString(16) + "}";
  const show = (text) => String(text).replace(UNSEEN, escapeChar);
  const shown = new Map();
  const textOf = (number) => {
    let text = shown.get(number);
    if (text === undefined) shown.set(number, (text = show(data.texts[number])));
    return text;
  };
  const pairsOf = (number) => {
    const flat = data.sets[number];
    return Array.from({ length: flat.length / 2 }, (_, i) => [textOf(flat[2 * i]), show(data.texts[flat[2 * i + 1]])]);
  };

  const digits = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2));
  const count = (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : Number(value.toPrecision(3)).toLocaleString("en-US"));
  const seconds = (value) => {
    if (!value) return "0";
    for (const [limit, factor, unit] of [[1e-6, 1e9, "ns"], [1e-3, 1e6, "µs"], [1, 1e3, "ms"], [120, 1, "s"]])
      if (Math.abs(value) < limit) return digits(value * factor) + " " + unit;
    return value < 7200 ? digits(value / 60) + " min" : digits(value / 3600) + " h";
  };
  const duration = (nanoseconds) => seconds(nanoseconds / NS_PER_SECOND);
  const quantity = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "s") return seconds(value);
    if (unit === "ms") return seconds(value / 1e3);
    if (unit !== "By") return count(value);
    let step = 0;
    while (Math.abs(value) >= 1024 && step < 4) { value /= 1024; step++; }
    return (step ? digits(value) : count(value)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][step];
  };
  const plural = (number, one, many) => count(number) + " " + (number === 1 ? one : many);
  const moment = (ms) => { try { return new Date(ms).toISOString().slice(0, 19).replace("T", " "); } catch { return "?"; } };

  // -- elements

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "text") element.textContent = value;
      else if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  function draw(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const span = (kind, text, title) => make("span", { class: kind, text, title });
  const tile = (value, label, kind = "") => make("div", { class: "tile " + kind }, make("b", { text: value }), span("", label));

  const hues = new Map();
  const services = [...new Set(data.traces.flatMap((trace) => trace.services))];
  services.forEach((number) => hues.set(data.texts[number], hues.size % 12));
  const hue = (number) => "b" + (hues.get(data.texts[number]) ?? 0);

  /** Rows of one height, of which only those in sight exist. */
  class List {
    constructor(height, paint, properties = {}) {
      this.height = height;
      this.paint = paint;
      this.length = 0;
      this.spacer = make("div", { class: "spacer", role: "rowgroup" });
      this.element = make("div", { class: "scroll", tabindex: "0", ...properties }, this.spacer);
      this.element.addEventListener("scroll", () => this.later());
      this.pending = false;
      new ResizeObserver(() => this.later()).observe(this.element);
    }
    resize(length) {
      this.length = length;
      this.spacer.style.height = length * this.height + "px";
      this.refresh();
    }
    later() {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.refresh(); });
    }
    refresh() {
      const first = Math.max(0, Math.floor(this.element.scrollTop / this.height) - 8);
      const last = Math.min(this.length, Math.ceil((this.element.scrollTop + (this.element.clientHeight || 900)) / this.height) + 8);
      const rows = [];
      for (let at = first; at < last; at++) {
        const row = this.paint(at);
        row.style.top = at * this.height + "px";
        row.setAttribute("aria-rowindex", at + 1);
        rows.push(row);
      }
      this.spacer.replaceChildren(...rows);
    }
    reveal(at) {
      const top = at * this.height, view = this.element;
      if (top < view.scrollTop) view.scrollTop = top;
      else if (top + this.height > view.scrollTop + view.clientHeight) view.scrollTop = top + this.height - view.clientHeight;
    }
    center(at) { this.element.scrollTop = (at + 0.5) * this.height - this.element.clientHeight / 2; }
  }

  // -- the list of traces

  const kept = { sort: "start", down: true, query: "", background: false, failed: false };
  data.traces.forEach((trace) => {
    trace.errorCount = trace.errors.reduce((sum, error) => sum + (error >= 0), 0);
    trace.serviceSet = [...new Set(trace.services)];
    trace.size = trace.ids.length;
  });

  function tracesView() {
    const traces = data.traces, background = traces.filter((trace) => trace.background).length;
    if (!traces.length) return [make("p", { class: "empty", text: "No spans in this recording." })];
    if (background === traces.length) kept.background = true;
    const longest = traces.reduce((most, trace) => Math.max(most, trace.duration), 1);
    const orders = { name: (t) => textOf(t.name), services: (t) => t.serviceSet.length, spans: (t) => t.size, errors: (t) => t.errorCount, duration: (t) => t.duration, start: (t) => t.start };
    let found = [], at = 0;
    const list = new List(34, (number) => {
      const trace = found[number];
      const meter = make("i");
      meter.style.width = Math.max(1, (100 * trace.duration) / longest) + "%";
      const row = make("div", { class: "row" + (number === at ? " selected" : ""), role: "row", "aria-selected": number === at, onclick: () => open(number) },
        make("div", { class: "lead", role: "cell" }, make("i", { class: "dot " + hue(trace.service) }), span("quiet text", textOf(trace.service)), span("clip text", textOf(trace.name), textOf(trace.name))),
        make("div", { class: "meter", role: "cell", title: duration(trace.duration) }, meter),
        make("span", { class: "number", role: "cell", text: duration(trace.duration) }),
        make("span", { class: "number", role: "cell", text: count(trace.size) }),
        make("span", { class: "number", role: "cell", text: trace.serviceSet.length }),
        make("span", { class: "number" + (trace.errorCount ? " bad" : " quiet"), role: "cell", text: trace.errorCount || "–" }),
        make("span", { class: "number quiet", role: "cell", text: moment(trace.start) }));
      return row;
    }, { role: "grid", "aria-label": "Traces", onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 }[event.key];
      if (step) { at = Math.max(0, Math.min(found.length - 1, at + step)); list.reveal(at); list.refresh(); event.preventDefault(); }
      else if (event.key === "Enter" && found[at]) open(at);
    } });
    const open = (number) => { location.hash = "trace/" + found[number].id; };
    const summary = span("quiet", "");
    const update = () => {
      const words = kept.query.toLowerCase().split(/\s+/).filter(Boolean);
      found = traces.filter((trace) => (kept.background || !trace.background) && (!kept.failed || trace.errorCount)
        && words.every((word) => traceText(trace).includes(word)));
      const order = orders[kept.sort];
      found.sort((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0) * (kept.down ? -1 : 1));
      at = Math.min(at, Math.max(0, found.length - 1));
      summary.textContent = `${count(found.length)} of ${count(traces.length)}`;
      list.resize(found.length);
    };
    const toggle = (label, key) => make("button", { text: label, "aria-pressed": String(kept[key]), onclick: (event) => {
      kept[key] = !kept[key];
      event.currentTarget.setAttribute("aria-pressed", String(kept[key]));
      update();
    } });
    const heads = [["name", "Request"], ["duration", ""], ["duration", "Duration"], ["spans", "Spans"], ["services", "Services"], ["errors", "Errors"], ["start", "Started (UTC)"]];
    const head = make("div", { class: "head", role: "row" }, ...heads.map(([key, label], number) => label ? make("button", { text: label, class: number > 1 ? "number" : "", "data-sort": key, onclick: () => {
      kept.down = kept.sort === key ? !kept.down : key !== "name";
      kept.sort = key;
      mark();
      update();
    } }) : make("span")));
    const mark = () => head.querySelectorAll("button").forEach((button) => {
      if (button.dataset.sort === kept.sort) button.setAttribute("aria-sort", kept.down ? "descending" : "ascending");
      else button.removeAttribute("aria-sort");
    });
    const search = make("input", { type: "search", id: "search", placeholder: "Find by name, service, request id, attribute", "aria-label": "Find traces", value: kept.query, oninput: (event) => { kept.query = event.target.value; update(); } });
    search.value = kept.query;
    mark();
    queueMicrotask(update);
    const spans = traces.reduce((sum, trace) => sum + trace.size, 0), errors = traces.reduce((sum, trace) => sum + trace.errorCount, 0);
    return [
      make("div", { class: "tiles" }, tile(count(traces.length), "traces"), tile(count(spans), "spans"), tile(count(services.length), services.length === 1 ? "service" : "services"),
        tile(count(errors), errors === 1 ? "error" : "errors", errors ? "bad" : ""), tile(count(data.metrics.length), "metrics"), tile(duration(longest), "longest trace")),
      data.leftOut ? make("p", { class: "warning", text: `${count(data.leftOut)} more traces of the recording were left out to keep the page quick: write it with a larger --max-spans to have them.` }) : null,
      make("div", { class: "bar" }, search, background && background < traces.length ? toggle(`Background work (${count(background)})`, "background") : null, toggle("Only with errors", "failed"), make("span", { class: "push" }), summary),
      make("section", { class: "panel traces", "aria-label": "Traces" }, head, list.element),
    ];
  }

  function traceText(trace) {
    if (!trace.text) {
      const sets = [...new Set(trace.attributes)].flatMap((number) => data.sets[number]);
      const texts = new Set([...trace.names, ...trace.services, ...sets]);
      trace.text = (trace.id + "\n" + [...texts].map((number) => textOf(number)).join("\n")).toLowerCase();
    }
    return trace.text;
  }

  // -- one trace

  const ANSWERS = { CLIENT: "SERVER", PRODUCER: "CONSUMER" };

  /** The rows of a trace: {at: span, call: the span it answers or -1} or {members: rows alike}, each with below, depth, open. */
  function treeOf(trace, merge) {
    const children = new Map();
    trace.parents.forEach((parent, at) => { children.has(parent) ? children.get(parent).push(at) : children.set(parent, [at]); });
    const kind = (at) => data.texts[trace.kinds[at]];
    const rowOf = (at) => {
      const only = children.get(at);
      if (merge && only && only.length === 1 && kind(only[0]) === ANSWERS[kind(at)]) return { at: only[0], call: at, below: [], open: true };
      return { at, call: -1, below: [], open: true };
    };
    const gather = (rows) => {
      if (!merge) return rows;
      const alike = new Map();
      for (const row of rows) {
        const key = [trace.services[row.at], trace.names[row.at], trace.kinds[row.at]].join();
        alike.has(key) ? alike.get(key).push(row) : alike.set(key, [row]);
      }
      return [...alike.values()].map((members) => (members.length > 1 ? { at: members[0].at, call: members[0].call, members, below: members, open: false } : members[0]));
    };
    const top = [];
    const work = [[(children.get(-1) || []), top, null]];
    while (work.length) {
      const [spans, out, parent] = work.pop();
      const rows = spans.map(rowOf);
      for (const row of gather(rows)) {
        row.parent = parent;
        row.depth = parent ? parent.depth + 1 : 0;
        (row.members || []).forEach((member) => { member.parent = row; member.depth = row.depth + 1; });
        out.push(row);
      }
      for (const row of rows) work.push([children.get(row.at) || [], row.below, row]);
    }
    // depths below members were set before their group was known to their parents: set all again from the top
    const stack = [...top];
    while (stack.length) {
      const row = stack.pop();
      row.depth = row.parent ? row.parent.depth + 1 : 0;
      stack.push(...row.below);
    }
    return top;
  }

  const spansOf = (row) => (row.members ? row.members.flatMap(spansOf) : row.call >= 0 ? [row.call, row.at] : [row.at]);
  /** Whose duration a row shows: a caller waits for its answer, who casts does not. */
  const timedOf = (trace, row) => (row.call >= 0 && data.texts[trace.kinds[row.call]] === "CLIENT" ? row.call : row.at);

  /** Database and cache totals that the spans of a row carry, in short. */
  function spentOf(trace, row) {
    const sums = {};
    for (const at of spansOf(row)) {
      const flat = data.sets[trace.attributes[at]];
      for (let i = 0; i < flat.length; i += 2) {
        const found = SPENT.exec(data.texts[flat[i]]);
        if (found) sums[found[0]] = (sums[found[0]] || 0) + (Number(data.texts[flat[i + 1]]) || 0);
      }
    }
    const part = (name) => (sums[`openstack.${name}.calls`] ? `${name} ${count(sums[`openstack.${name}.calls`])} in ${seconds(sums[`openstack.${name}.duration`] || 0)}` : "");
    return [part("db"), part("cache")].filter(Boolean).join(" · ");
  }
  const SPENT = /^openstack\.(db|cache)\.(calls|duration)$/;

  function ownTimes(trace) {
    const covered = new Float64Array(trace.size), until = Float64Array.from(trace.starts), own = new Map();
    trace.parents.forEach((parent, at) => { // spans are in the order of their start
      if (parent < 0) return;
      const from = Math.max(until[parent], trace.starts[at]), to = Math.min(trace.starts[at] + trace.durations[at], trace.starts[parent] + trace.durations[parent]);
      if (to > from) { covered[parent] += to - from; until[parent] = to; }
    });
    trace.services.forEach((service, at) => own.set(service, (own.get(service) || 0) + trace.durations[at] - covered[at]));
    return [...own].sort((a, b) => b[1] - a[1]);
  }

  function traceView(trace) {
    const state = { merge: true, query: "", hits: null, only: false, selected: null, from: 0, to: Math.max(1, trace.duration) };
    let top = treeOf(trace, true), visible = [], haystack = null;
    const lane = (at, kind, painted = at) => {
      const bar = make("i", { class: kind + " " + hue(trace.services[painted]) + (trace.errors[at] >= 0 ? " failed" : "") });
      const scale = 100 / (state.to - state.from);
      bar.style.left = (trace.starts[at] - state.from) * scale + "%";
      bar.style.width = Math.max(0, trace.durations[at] * scale) + "%";
      return bar;
    };
    const barsOf = (row) => row.members ? row.members.slice(0, 400).map((member) => lane(timedOf(trace, member), "", row.at)) : row.call >= 0 ? [lane(row.call, "call", row.at), lane(row.at, "")] : [lane(row.at, "")];
    /** What the row spent elsewhere, beside its bar: where there is more room. */
    const noteOf = (row) => {
      const spent = spentOf(trace, row), last = row.members ? row.members[row.members.length - 1] : row;
      if (!spent) return null;
      const note = span("note", spent), end = (trace.starts[last.at] + trace.durations[last.at] - state.from) / (state.to - state.from), start = (trace.starts[row.at] - state.from) / (state.to - state.from);
      if (end < 0.66 || start < 0.3) note.style.left = Math.min(66, Math.max(0, 100 * end)) + "%";
      else note.style.right = Math.max(0, 100 - 100 * start) + "%";
      return note;
    };
    const timeOf = (row) => row.members ? row.members.reduce((sum, member) => sum + timeOf(member), 0) : trace.durations[timedOf(trace, row)];
    const list = new List(26, (number) => {
      const row = visible[number], at = row.at, spans = spansOf(row);
      const failed = spans.find((each) => trace.errors[each] >= 0);
      const hit = state.hits && spans.some((each) => state.hits.has(each));
      const twist = make("button", { class: "twist", tabindex: "-1", "aria-hidden": "true", text: row.below.length ? (row.open ? "▾" : "▸") : "", onclick: (event) => { event.stopPropagation(); flip(row); } });
      twist.style.marginLeft = Math.min(row.depth, 40) * 14 + "px";
      const element = make("div", { class: "row" + (row === state.selected ? " selected" : "") + (hit ? " hit" : state.hits ? " miss" : ""), role: "row", id: "row-" + number, "aria-level": row.depth + 1, "aria-selected": row === state.selected, "aria-expanded": row.below.length ? String(row.open) : null, onclick: () => select(row), ondblclick: () => flip(row) },
        make("div", { class: "label", role: "gridcell" }, twist, make("i", { class: "dot " + hue(trace.services[at]) }), span("service clip text", textOf(trace.services[at])),
          span("name clip text", textOf(trace.names[at]).slice(0, 400), textOf(trace.names[at])), row.members ? span("badge", "×" + count(row.members.length)) : null,
          at in trace.missing || row.call in trace.missing ? span("badge bad", "parent not recorded") : null,
          failed === undefined ? null : span("badge bad clip text", "✗ " + textOf(trace.errors[failed]), textOf(trace.errors[failed]))),
        make("span", { class: "number", role: "gridcell", text: duration(timeOf(row)) }),
        make("div", { class: "lane", role: "gridcell" }, ...barsOf(row), ...[noteOf(row)].filter(Boolean)));
      return element;
    }, { role: "treegrid", "aria-label": "Spans", onkeydown: (event) => keys(event) });

    const walk = () => {
      visible = [];
      const stack = [...top].reverse();
      while (stack.length) {
        const row = stack.pop();
        if (state.only && state.hits && !row.holds) continue;
        visible.push(row);
        if (row.open) for (let i = row.below.length - 1; i >= 0; i--) stack.push(row.below[i]);
      }
      list.resize(visible.length);
    };
    const every = (visit) => { const stack = [...top]; while (stack.length) { const row = stack.pop(); visit(row); stack.push(...row.below); } };
    const flip = (row, open = !row.open) => { if (row.below.length) { row.open = open; walk(); } };
    const focus = () => list.element.setAttribute("aria-activedescendant", "row-" + visible.indexOf(state.selected));
    const select = (row) => { state.selected = row; show_details(row); list.reveal(visible.indexOf(row)); list.refresh(); focus(); };
    const move = (step) => {
      const now = visible.indexOf(state.selected);
      const row = visible[Math.max(0, Math.min(visible.length - 1, now < 0 ? 0 : now + step))];
      if (row) { state.selected = row; if (details.isConnected) show_details(row); list.reveal(visible.indexOf(row)); list.refresh(); focus(); }
    };
    const keys = (event) => {
      const row = state.selected, step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step) move(step);
      else if (event.key === "ArrowRight" && row) row.open || !row.below.length ? move(1) : flip(row, true);
      else if (event.key === "ArrowLeft" && row) row.open && row.below.length ? flip(row, false) : row.parent && select_quiet(row.parent);
      else if (event.key === "Enter" && row) show_details(row);
      else if (event.key === " " && row) flip(row);
      else if (event.key === "z" && row) zoom(row);
      else if (event.key === "Escape") { state.from = 0; state.to = Math.max(1, trace.duration); details.remove(); rule(); list.refresh(); }
      else return;
      event.preventDefault();
    };
    const select_quiet = (row) => { state.selected = row; move(0); };
    const zoom = (row) => {
      const spans = spansOf(row), start = Math.min(...spans.slice(0, 1e4).map((at) => trace.starts[at])), end = Math.max(...spans.slice(0, 1e4).map((at) => trace.starts[at] + trace.durations[at]));
      state.from = start; state.to = Math.max(start + 1, end);
      rule(); list.refresh();
    };

    // searching
    const find = () => {
      const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length) { state.hits = null; matches.textContent = ""; walk(); return; }
      haystack = haystack || trace.ids.map((id, at) => [id, textOf(trace.services[at]), textOf(trace.names[at]), trace.errors[at] >= 0 ? "error " + textOf(trace.errors[at]) : "", ...data.sets[trace.attributes[at]].map(textOf)].join("\n").toLowerCase());
      state.hits = new Set();
      haystack.forEach((text, at) => { if (words.every((word) => text.includes(word))) state.hits.add(at); });
      every((row) => { row.holds = false; });
      every((row) => {
        if (row.members || !spansOf(row).some((at) => state.hits.has(at))) return;
        row.holds = true;
        for (let above = row.parent; above && !(above.holds && above.open); above = above.parent) { above.holds = true; above.open = true; }
      });
      matches.textContent = `${count(state.hits.size)} of ${count(trace.size)} spans`;
      walk();
      const first = visible.find((row) => !row.members && spansOf(row).some((at) => state.hits.has(at)));
      if (first) { state.selected = first; list.center(visible.indexOf(first)); list.refresh(); }
    };
    const next = (step) => {
      if (!state.hits || !visible.length) return;
      const start = visible.indexOf(state.selected);
      for (let i = 1; i <= visible.length; i++) {
        const row = visible[(((start + step * i) % visible.length) + visible.length) % visible.length];
        if (!row.members && spansOf(row).some((at) => state.hits.has(at))) { state.selected = row; move(0); return; }
      }
    };
    const matches = make("span", { class: "quiet", id: "matches", role: "status" });
    const search = make("input", { type: "search", id: "search", placeholder: "Find spans: name, service, attribute, error", "aria-label": "Find spans", oninput: (event) => { state.query = event.target.value; find(); },
      onkeydown: (event) => { if (event.key === "Enter") next(event.shiftKey ? -1 : 1); else if (event.key === "ArrowDown") { list.element.focus(); event.preventDefault(); } } });
    const lookFor = (text) => { search.value = state.query = text; find(); };

    // details of a row
    const details = make("aside", { class: "panel details", "aria-label": "Details" });
    const table = (pairs) => make("table", { class: "pairs" }, make("tbody", {}, ...pairs.map(([key, value]) => make("tr", {}, make("th", { class: "text", scope: "row", text: key }), make("td", { class: "text", text: value })))));
    const section = (title, ...content) => [make("h4", { text: title }), ...content];
    const describe = (at) => {
      const events = trace.events[at] || [], links = trace.links[at] || [];
      return [
        make("h3", {}, span("text", textOf(trace.names[at]).slice(0, 2000))),
        make("div", { class: "quiet" }, make("i", { class: "dot " + hue(trace.services[at]) }), span("text", textOf(trace.services[at])), span("", " · " + textOf(trace.kinds[at]).toLowerCase() + " · " + duration(trace.durations[at]) + " · at +" + duration(trace.starts[at]))),
        trace.errors[at] >= 0 ? make("p", { class: "warning text", text: "✗ " + textOf(trace.errors[at]) }) : null,
        ...section("Attributes", table(pairsOf(trace.attributes[at]))),
        ...(events.length ? section("Events", ...events.map(([time, name, set]) => make("div", {}, span("text", textOf(name)), span("quiet", " +" + duration(time)), table(pairsOf(set))))) : []),
        ...(links.length ? section("Links", table(links.map(([id, to]) => [id, to]))) : []),
        ...section("Origin", table([...pairsOf(trace.places[at]), ["span id", trace.ids[at]], ["parent", trace.parents[at] >= 0 ? trace.ids[trace.parents[at]] : show(trace.missing[at] ? trace.missing[at] + " (not recorded)" : "none")]])),
      ].filter(Boolean);
    };
    const show_details = (row) => {
      const close = make("button", { class: "close", text: "Close", onclick: () => { details.remove(); list.element.focus(); } });
      if (row.members) {
        const times = row.members.map(timeOf).sort((a, b) => a - b), pick = (share) => duration(times[Math.min(times.length - 1, Math.floor(share * times.length))]);
        details.replaceChildren(close, make("h3", {}, span("text", textOf(trace.names[row.at]).slice(0, 2000))), span("quiet text", textOf(trace.services[row.at])),
          ...section("Repeated " + count(times.length) + " times", table([["total", duration(timeOf(row))], ["median", pick(0.5)], ["95th percentile", pick(0.95)], ["longest", duration(times[times.length - 1])], ["with errors", count(row.members.filter((member) => spansOf(member).some((at) => trace.errors[at] >= 0)).length)]])),
          make("p", {}, make("button", { text: row.open ? "Fold" : "Show each", onclick: () => { flip(row); show_details(row); } })));
      } else {
        details.replaceChildren(close, ...describe(row.at), ...(row.call >= 0 ? [make("hr"), ...section("Called by"), ...describe(row.call)] : []));
      }
      if (!details.isConnected) split.append(details);
      details.scrollTop = 0;
    };

    // frame
    const ruler = make("div", { class: "ruler" });
    const rule = () => ruler.replaceChildren(...[0, 1, 2, 3].map((quarter) => {
      const tick = span("", duration(state.from + ((state.to - state.from) * quarter) / 4));
      tick.style.left = quarter * 25 + "%";
      return tick;
    }));
    const foldAll = (open) => { every((row) => { row.open = open || (!row.parent && !row.members); }); walk(); };
    const rebuild = (event) => { state.merge = !state.merge; event.currentTarget.setAttribute("aria-pressed", String(state.merge)); top = treeOf(trace, state.merge); state.selected = null; details.remove(); state.hits ? find() : walk(); };
    const own = ownTimes(trace), all = own.reduce((sum, [, time]) => sum + time, 0) || 1;
    const share = make("div", { class: "share", "aria-hidden": "true" }, ...own.map(([service, time]) => {
      const part = make("i", { class: hue(service), title: textOf(service) + "  " + duration(time) });
      part.style.flexGrow = time / all;
      return part;
    }));
    const legend = make("div", { class: "legend", "aria-label": "Own time of each service" }, ...own.slice(0, 24).map(([service, time]) => make("button", { onclick: () => lookFor(textOf(service)), title: "Find its spans" },
      make("i", { class: "dot " + hue(service) }), span("text", textOf(service)), span("quiet", " " + duration(time)))));
    const split = make("div", { class: "split" }, make("section", { class: "panel waterfall", "aria-label": "Waterfall" },
      make("div", { class: "head" }, span("", ""), make("span", { class: "number", text: "Duration" }), ruler), list.element));
    const only = make("button", { text: "Only matches", "aria-pressed": "false", onclick: () => { state.only = !state.only; only.setAttribute("aria-pressed", String(state.only)); walk(); } });
    const missing = Object.keys(trace.missing).length;
    rule();
    queueMicrotask(() => { walk(); list.element.focus({ preventScroll: true }); });
    const fact = (value, label) => make("span", {}, make("b", { text: value }), " " + label);
    return [
      make("div", {}, make("h2", {}, span("quiet text", textOf(trace.service) + " "), span("text", textOf(trace.name).slice(0, 300))),
        make("div", { class: "facts" }, fact(duration(trace.duration), ""), fact(count(trace.size), "spans"), fact(count(trace.serviceSet.length), trace.serviceSet.length === 1 ? "service" : "services"),
          make("span", { class: trace.errorCount ? "bad" : "" }, make("b", { class: trace.errorCount ? "bad" : "", text: count(trace.errorCount) }), trace.errorCount === 1 ? " error" : " errors"),
          make("span", { text: moment(trace.start) + " UTC" }), make("span", { class: "mono", text: trace.id }))),
      missing || trace.duplicates ? make("p", { class: "warning", text: [missing ? `${count(missing)} spans whose parent was not recorded.` : "", trace.duplicates ? `${count(trace.duplicates)} spans were recorded twice.` : ""].join(" ") }) : null,
      make("div", {}, share, legend),
      make("div", { class: "bar" }, search, only, matches, make("span", { class: "push" }),
        make("button", { text: "Fold all", id: "fold-all", onclick: () => foldAll(false) }), make("button", { text: "Unfold all", id: "unfold-all", onclick: () => foldAll(true) }),
        make("button", { text: "Fold repeated", "aria-pressed": "true", title: "One row for repeated siblings, and for a call with its answer", onclick: rebuild }),
        make("span", { class: "quiet" }, make("kbd", { text: "/" }), " find  ", make("kbd", { text: "←→" }), " fold  ", make("kbd", { text: "z" }), " zoom  ", make("kbd", { text: "esc" }), " whole")),
      split,
    ];
  }

  // -- metrics

  function metricsView(chosen) {
    const names = [...new Set(data.metrics.map((metric) => metric.service))];
    if (!names.length) return [make("p", { class: "empty", text: "No metrics in this recording." })];
    const service = names.includes(chosen) ? chosen : names[0];
    const metrics = data.metrics.filter((metric) => metric.service === service);
    const side = make("nav", { class: "panel services", "aria-label": "Services" }, ...names.map((name, number) => make("a", { href: "#metrics/" + number, "aria-current": name === service ? "true" : null },
      span("clip text", show(name)), span("quiet", count(data.metrics.filter((metric) => metric.service === name).length)))));
    const body = make("tbody");
    const fill = (query) => {
      const rows = metrics.filter((metric) => metric.name.toLowerCase().includes(query.toLowerCase())).flatMap((metric) => metric.lines.map((line) => metricRow(metric, line)));
      body.replaceChildren(...rows);
    };
    fill("");
    const head = ["Metric", "Over time", "Count", "p50", "p95", "Max", "Total", "Last"];
    return [
      make("div", { class: "bar" }, make("h2", { class: "text", text: show(service) }), span("quiet", `${plural(Math.max(...metrics.map((metric) => metric.processes)), "process", "processes")} · ${moment(data.metricsStart)} to ${moment(data.metricsEnd)} UTC`),
        make("span", { class: "push" }), make("input", { type: "search", id: "search", placeholder: "Find metrics", "aria-label": "Find metrics", oninput: (event) => fill(event.target.value) })),
      make("div", { class: "split" }, side, make("section", { class: "panel metrics", "aria-label": "Metrics" },
        make("table", {}, make("thead", {}, make("tr", {}, ...head.map((label, number) => make("th", { class: number > 1 ? "number" : "", scope: "col", text: label })))), body))),
    ];
  }

  function metricRow(metric, line) {
    const cell = (value) => make("td", { class: "number", text: value });
    const unit = (value) => (value === undefined ? "" : quantity(value, metric.unit));
    const labels = line.labels.map(([key, value]) => show(key) + "=" + show(value)).join(", ");
    const button = make("button", { class: "text", text: show(metric.name), "aria-expanded": "false" });
    const flip = () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      if (open) row.after(moreOf(metric, line));
      else row.nextElementSibling.remove();
    };
    const notes = [labels, labels ? "" : metric.sets > 1 ? count(metric.sets) + " sets of attributes" : "", ["s", "By", "1", ""].includes(metric.unit) ? "" : show(metric.unit)].filter(Boolean).join(" · ");
    const row = make("tr", { class: "metric", onclick: flip },
      make("td", { class: "name" }, button, make("small", { class: "text", text: notes })),
      make("td", {}, sparkline(line.over.value, line.count !== undefined || line.total !== undefined)),
      cell(line.count === undefined ? "" : count(line.count)), cell(unit(line.p50)), cell(unit(line.p95)), cell(unit(line.max)), cell(unit(line.total)), cell(unit(line.last)));
    return row;
  }

  function moreOf(metric, line) {
    const unit = (value) => quantity(value, metric.unit), level = line.total === undefined && line.count === undefined;
    const charts = make("div", { class: "charts" });
    if (line.buckets && line.buckets.length) charts.append(make("figure", {}, make("figcaption", { text: "Distribution" }), histogram(line.buckets, unit)));
    charts.append(make("figure", {}, make("figcaption", { text: level ? "Value over time" : line.count === undefined ? "Growth over time" : "Count over time" }), timeline(line.over.value, line.count === undefined ? unit : count, !level)));
    if (line.over.mean) charts.append(make("figure", {}, make("figcaption", { text: "Mean over time" }), timeline(line.over.mean, unit, false)));
    const columns = metric.kind === "histogram" ? ["count", "p50", "p95", "p99", "max", "sum"] : metric.monotonic ? ["total"] : ["max", "last"];
    const by = make("table", {}, make("thead", {}, make("tr", {}, make("th", { text: "Attributes" }), ...columns.map((name) => make("th", { class: "number", text: name })))),
      make("tbody", {}, ...metric.by.map((each) => make("tr", {}, make("td", { class: "mono text", text: each.labels.map(([key, value]) => show(key) + "=" + show(value)).join("  ") || "none" }),
        ...columns.map((name) => make("td", { class: "number", text: name === "count" ? count(each[name]) : unit(each[name]) }))))));
    return make("tr", { class: "more" }, make("td", { colspan: "8" }, metric.description ? make("p", { class: "quiet text", text: show(metric.description) }) : null, charts, by,
      metric.sets > metric.by.length ? span("quiet", `${count(metric.sets - metric.by.length)} more sets of attributes`) : null));
  }

  /** The line through the values that are there, with a dot where one stands alone. */
  function lineOf(values, width, height, most) {
    const points = values.flatMap((value, at) => (value === null ? [] : [[(width * (at + 0.5)) / values.length, height - (height * Math.max(0, value)) / most]]));
    if (points.length === 1) return draw("circle", { class: "point", cx: points[0][0], cy: points[0][1], r: 2.5 });
    return draw("path", { class: "stroke", d: points.map(([x, y], at) => (at ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1)).join("") });
  }
  /** A bar for what was added in each part of the time. */
  function barsOver(values, width, height, most) {
    const step = width / values.length;
    return draw("g", {}, ...values.flatMap((value, at) => {
      const tall = value > 0 ? Math.max(1.5, (height * value) / most) : 0;
      return tall ? [draw("rect", { class: "fill", x: at * step, width: Math.max(1, step - 1), y: height - tall, height: tall, rx: 1 })] : [];
    }));
  }
  const mostOf = (values) => values.reduce((most, value) => Math.max(most, value || 0), 0) || 1;
  const chartOf = (grows, values, width, height) => (grows ? barsOver : lineOf)(values, width, height, mostOf(values));
  function sparkline(values, grows) {
    return draw("svg", { width: 120, height: 22, "aria-hidden": "true" }, chartOf(grows, values, 120, 20));
  }
  function timeline(values, label, grows) {
    const width = 340, height = 110, most = mostOf(values);
    const text = (x, y, content, anchor = "start") => { const element = draw("text", { x, y, "text-anchor": anchor }); element.textContent = content; return element; };
    const clock = (ms) => moment(ms).slice(11);
    return draw("svg", { width: width + 80, height: height + 22, role: "img", "aria-label": "Chart over time, at most " + label(most) },
      draw("line", { class: "axis", x1: 0, x2: width, y1: 0, y2: 0 }), draw("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }),
      chartOf(grows, values, width, height), text(width + 6, 9, label(most)), text(width + 6, height, "0"), text(0, height + 16, clock(data.metricsStart)), text(width, height + 16, clock(data.metricsEnd), "end"));
  }
  function histogram(buckets, label) {
    const width = 340, height = 110, most = Math.max(...buckets.map(([, , number]) => number)) || 1, step = width / buckets.length;
    const bars = buckets.flatMap(([low, high, number], at) => {
      const tall = Math.max(1, (height * number) / most);
      const bar = draw("rect", { class: "fill", x: at * step + 1, width: Math.max(1, Math.min(step - 2, 60)), y: height - tall, height: tall, rx: 2 });
      const title = draw("title", {});
      title.textContent = `${low === null ? "" : label(low)} to ${high === null ? "∞" : label(high)}: ${count(number)}`;
      bar.append(title);
      const every = Math.ceil(buckets.length / 6);
      if (at % every) return [bar];
      const text = draw("text", { x: at * step + 1, y: height + 16 });
      text.textContent = high === null ? "> " + label(low) : "≤ " + label(high);
      return [bar, text];
    });
    return draw("svg", { width: width + 60, height: height + 22, role: "img", "aria-label": "Distribution" }, draw("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }), ...bars);
  }

  // -- what the address says

  function route() {
    const [view, rest] = location.hash.slice(1).split("/");
    const trace = view === "trace" ? data.traces.find((each) => each.id === rest) : null;
    const names = [...new Set(data.metrics.map((metric) => metric.service))];
    const content = view === "metrics" ? metricsView(names[Number(rest) || 0]) : trace ? traceView(trace) : tracesView();
    main.replaceChildren(...content.filter(Boolean));
    for (const [id, active] of [["tab-traces", view !== "metrics"], ["tab-metrics", view === "metrics"]])
      active ? document.getElementById(id).setAttribute("aria-current", "page") : document.getElementById(id).removeAttribute("aria-current");
  }
  addEventListener("hashchange", route);
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.tagName === "INPUT") return;
    const search = document.getElementById("search");
    if (search) { search.focus(); search.select(); event.preventDefault(); }
  });
  document.getElementById("origin").textContent = show(data.source) + " · " + show(data.generated);
  if (!location.hash && !data.traces.length && data.metrics.length) location.replace("#metrics");
  route();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
