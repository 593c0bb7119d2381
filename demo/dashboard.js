/* dashboard.js - asks status.json each second and draws what has changed since. Text goes into the
   page as text only. */
"use strict";
(() => {
  const POINTS = 120, FEWEST = 30, PERIOD = 1000, WIDTH = 480, HEIGHT = 136, FOOT = 2;
  const LEVELS = ["normal", "elevated", "high", "critical"];
  const byId = id => document.getElementById(id);
  const history = []; // what `derive` makes of each answer, the oldest first
  const charts = [], tables = [], tiles = [];
  let before = null, cursor = -1, paused = false, misses = 0, asked = 0, timer = 0;

  // ---- figures in words ----

  const round = (value, digits) =>
    value.toLocaleString("en", {maximumFractionDigits: digits, useGrouping: true});
  const count = value => value >= 1e6 ? `${round(value / 1e6, 2)} M`
    : value >= 1e4 ? `${round(value / 1e3, 1)} k` : round(value, value < 10 ? 1 : 0);
  const bytes = value => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 999.5 && unit < 4) { value /= 1024; unit++; }
    return `${round(value, value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
  };
  const rate = value => `${bytes(value)}/s`;
  const time = us => us === null ? "–" : us < 1000 ? `${round(us, 0)} µs`
    : us < 1e6 ? `${round(us / 1000, us < 1e4 ? 1 : 0)} ms` : `${round(us / 1e6, 1)} s`;
  const percent = value => value === null ? "–" : `${round(value, value < 10 ? 1 : 0)} %`;
  const level = value => value === null ? "–" : LEVELS[value] || String(value);
  const span = s => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min`
    : s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
    : `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;

  // ---- from two answers to a point ----

  const sum = list => list.reduce((a, b) => a + b, 0);
  const ofClass = (status, name) => sum(Object.values(status.requests).map(row => row[name]));
  // Counters of a server that has been started anew begin at 0 again.
  const grown = (now, then) => now >= then ? now - then : now;

  // The time below which a share of the answers was, interpolated within its bucket.
  function quantile(counts, bounds, share) {
    const all = sum(counts);
    let wanted = all * share, low = 0;
    if (all === 0) return null;
    for (let i = 0; i < counts.length; i++) {
      const high = i < bounds.length ? bounds[i] : low * 2;
      if (wanted <= counts[i]) return low + (high - low) * (counts[i] ? wanted / counts[i] : 0);
      wanted -= counts[i];
      low = high;
    }
    return low;
  }

  // What the root is made of, and other roots: all workers are one. Pairs of key and bytes.
  const budgetGroups = status => status.budgets
    .filter((row, i) => row.parent <= 0 && (i > 0 || status.budgets.length === 1))
    .map(row => [`budget ${row.name.replace(/^worker \d+$/, "workers")}`, row.live]);

  function derive(now, then) {
    const seconds = then ? Math.max((now.time_ms - then.time_ms) / 1000, 0.001) : 1;
    const per = pick => then ? grown(pick(now), pick(then)) / seconds : 0;
    const counts = now.latency.counts.map((n, i) => then ? grown(n, then.latency.counts[i]) : 0);
    const quantiles = [0.5, 0.95, 0.99].map(q => quantile(counts, now.latency.bounds_us, q));
    const ratio = name => {
      const hits = per(s => s[name].hits), all = hits + per(s => s[name].misses);
      return all > 0 ? 100 * hits / all : null;
    };
    const root = now.budgets[0], budgets = {};
    for (const [key, value] of budgetGroups(now)) budgets[key] = (budgets[key] || 0) + value;
    const classes = Object.fromEntries(now.pools.map(row =>
      [`class${row.size}`, row.size ? row.live * row.size : row.bytes]));
    return {
      ...budgets, ...classes,
      ok: per(s => ofClass(s, "1xx") + ofClass(s, "2xx") + ofClass(s, "3xx")),
      client: per(s => ofClass(s, "4xx")), server: per(s => ofClass(s, "5xx")),
      all: per(s => sum(["1xx", "2xx", "3xx", "4xx", "5xx"].map(name => ofClass(s, name)))),
      p50: quantiles[0], p95: quantiles[1], p99: quantiles[2],
      in: per(s => s.traffic.in), out: per(s => s.traffic.out),
      resident: now.process.resident_bytes, committed: now.heap.committed, live: now.heap.live,
      handshake: now.connections.handshake, reading: now.connections.reading,
      uploading: now.connections.uploading, writing: now.connections.writing,
      idle: now.connections.idle, closing: now.connections.closing,
      accepted: per(s => s.connections.accepted),
      full: per(s => s.tls.full), resumed: per(s => s.tls.resumed), failed: per(s => s.tls.failed),
      files: ratio("files"), responses: ratio("responses"), sessions: ratio("sessions"),
      level: now.pressure.level,
      limit: root.limit || null,
      arenas: now.arenas.total, chunks: now.chunks.memory, spare: now.chunks.cached,
    };
  }

  // ---- elements ----

  function make(name, parent, attributes = {}, text) {
    const svg = ["svg", "path", "line", "text", "g"].includes(name);
    const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    if (text !== undefined) e.textContent = text;
    parent.append(e);
    return e;
  }

  const say = (e, text) => { if (e.textContent !== text) e.textContent = text; };

  function card(title) {
    const section = make("section", byId("charts")), id = `card${byId("charts").children.length}`;
    const head = make("header", section);
    make("h2", head, {id}, title);
    section.setAttribute("aria-labelledby", id);
    return {section, note: make("output", head, {"aria-live": "off"})};
  }

  // ---- charts ----

  // A round number that is no less than the value: 1, 2 or 5 and zeros, or powers of two of bytes.
  function ceiling(value, unit) {
    if (value <= 0) return 1;
    if (unit === bytes || unit === rate) return 2 ** Math.ceil(Math.log2(value));
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 5, 10].find(step => value <= step * power * 1.000001);
  }

  // lines: [key in a point, name, colour, dash]; options: stacked, unit, top, note
  function chart(title, lines, options = {}) {
    const {section, note} = card(title), unit = options.unit || count;
    const svg = make("svg", section, {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: "0",
      preserveAspectRatio: "none"});
    for (const y of [0, 0.5, 1])
      make("line", svg, {class: "grid", x1: 0, x2: WIDTH, y1: FOOT + y * (HEIGHT - 2 * FOOT),
        y2: FOOT + y * (HEIGHT - 2 * FOOT), "vector-effect": "non-scaling-stroke"});
    const paths = lines.map(([, , colour, dash]) => make("path", svg,
      {class: `${options.stacked ? "area " : ""}${dash || ""} c${colour}`,
        "vector-effect": "non-scaling-stroke"}));
    const mark = make("line", svg, {class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden",
      "vector-effect": "non-scaling-stroke"});
    const legend = make("ul", section, {class: "legend"});
    const values = lines.map(([, name, colour]) => {
      const item = make("li", legend, {class: `c${colour}`});
      make("i", item);
      make("span", item, {}, name);
      return make("b", item);
    });
    charts.push({title, lines, options, unit, svg, paths, mark, values, note});
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect();
      const back = (1 - (event.clientX - box.left) / box.width) * (width() - 1);
      point(history.length - 1 - Math.round(back));
    });
    svg.addEventListener("pointerleave", () => point(-1));
    svg.addEventListener("blur", () => point(-1));
    svg.addEventListener("keydown", event => {
      const from = cursor < 0 ? history.length - 1 : cursor;
      if (event.key === "ArrowLeft") point(from - 1);
      else if (event.key === "ArrowRight") point(from + 1);
      else if (event.key === "Escape") point(-1);
      else return;
      event.preventDefault();
    });
  }

  // All charts show the figures of one second, or of now.
  function point(index) {
    cursor = index < 0 || index >= history.length - 1 ? -1 : index;
    charts.forEach(draw);
  }

  // How many seconds a chart has: it becomes longer as there are more to show.
  const width = () => Math.min(Math.max(history.length, FEWEST), POINTS);
  const xOf = index => WIDTH * (width() - history.length + index) / (width() - 1);

  function lineOf(heights, y) {
    let d = "", down = false; // where there is no figure the line is broken
    heights.forEach((height, i) => {
      if (height === null) { down = false; return; }
      d += `${down ? "L" : "M"}${xOf(i).toFixed(1)} ${y(height).toFixed(1)}`;
      if (!down && (i + 1 === heights.length || heights[i + 1] === null)) d += "h1";
      down = true;
    });
    return d;
  }

  function areaOf(low, high, y) {
    const back = low.map((height, i) => `L${xOf(i).toFixed(1)} ${y(height).toFixed(1)}`).reverse();
    return high.length ? `${lineOf(high, y)}${back.join("")}Z` : "";
  }

  function draw(c) {
    const rows = c.lines.map(([key]) => history.map(at => at[key]));
    const shown = c.options.stacked ? history.map((_, i) => sum(rows.map(row => row[i]))) : rows.flat();
    const high = Math.max(0, ...shown);
    const limit = history.length && c.options.limit && history[history.length - 1][c.options.limit];
    const most = limit && high > limit / 4 ? limit : 0; // far from it, it would hide the rest
    const top = c.options.top || most || ceiling(high, c.unit);
    const y = height => FOOT + (1 - height / top) * (HEIGHT - 2 * FOOT);
    let low = history.map(() => 0);
    rows.forEach((row, i) => {
      if (c.options.stacked) {
        const upper = row.map((value, k) => value + low[k]);
        c.paths[i].setAttribute("d", areaOf(low, upper, y));
        low = upper;
      } else {
        c.paths[i].setAttribute("d", lineOf(row, y));
      }
    });
    const at = history[cursor < 0 ? history.length - 1 : cursor];
    if (!at) {
      c.svg.setAttribute("aria-label", c.title);
      return;
    }
    c.lines.forEach(([key], i) => say(c.values[i], c.unit(at[key])));
    c.mark.setAttribute("visibility", cursor < 0 ? "hidden" : "visible");
    c.mark.setAttribute("x1", xOf(cursor));
    c.mark.setAttribute("x2", xOf(cursor));
    say(c.note, cursor >= 0 ? `${history.length - 1 - cursor} s ago`
      : `${most ? "limit" : "up to"} ${c.unit(top)}${limit && !most ? `, limit ${c.unit(limit)}` : ""}`);
    c.svg.setAttribute("aria-label", `${c.title}, ${cursor < 0 ? "now" : c.note.textContent}: ` +
      c.lines.map(([key, name]) => `${name} ${c.unit(at[key])}`).join(", "));
  }

  // ---- tables ----

  // rows(status): arrays of cells: text, or {share, more, mark: parts of 1}, or {text, alarm, depth}
  function table(title, heads, rows, note) {
    const c = card(title), element = make("table", make("div", c.section, {class: "scroll"}));
    const head = make("tr", make("thead", element));
    if (title === "Budget tree") c.section.classList.add("tall");
    const extra = heads.map(text => text.startsWith("*")); // left out on a phone
    heads.forEach((text, i) => make("th", head, {scope: "col", class: extra[i] ? "extra" : ""},
      text.replace("*", "")));
    tables.push({body: make("tbody", element), rows, note, output: c.note, extra});
  }

  function fillCell(cell, value) {
    if (typeof value !== "object") { say(cell, String(value)); return; }
    if (value.share === undefined) {
      say(cell, value.text);
      cell.classList.toggle("alarm", Boolean(value.alarm));
      if (value.depth) cell.classList.add(`depth${Math.min(value.depth, 3)}`);
      return;
    }
    if (!cell.firstChild) {
      const bar = make("div", cell, {class: "bar c0"});
      ["i", "i", "u"].forEach(name => make(name, bar));
      cell.classList.add("share");
    }
    const [used, more, mark] = cell.firstChild.children;
    used.style.width = `${100 * value.share}%`;
    more.style.width = `${100 * (value.more || 0)}%`;
    mark.style.left = `calc(${100 * (value.mark || 0)}% - 2px)`;
    mark.hidden = !value.mark;
    cell.firstChild.title = value.title || "";
  }

  function fill(t, status) {
    const rows = t.rows(status);
    while (t.body.children.length > rows.length) t.body.lastChild.remove();
    rows.forEach((cells, i) => {
      const row = t.body.children[i] || make("tr", t.body);
      cells.forEach((value, k) => fillCell(row.children[k] ||
        (k === 0 ? make("th", row, {scope: "row"})
          : make("td", row, {class: t.extra[k] ? "extra" : ""})), value));
    });
    if (t.note) say(t.output, t.note(status));
  }

  const alarm = value => ({text: count(value), alarm: value > 0});

  function depthOf(budgets, row) {
    let depth = 0;
    for (let at = row; at && at.parent >= 0 && depth < 9; depth++) at = budgets[at.parent];
    return depth;
  }

  // Children stand behind their parent, whatever order they come in.
  function inOrder(budgets) {
    const found = [];
    const visit = parent => budgets.forEach((row, i) => {
      if (row.parent !== parent || found.includes(row) || found.length > budgets.length) return;
      found.push(row);
      visit(i);
    });
    visit(-1);
    return found;
  }

  // Of several workers the parts are added up, which status.json has one by one.
  function together(budgets) {
    const merged = [], places = new Map();
    const nameOf = row => row.name.replace(/^worker \d+/, "workers");
    budgets.forEach(row => {
      const name = nameOf(row), at = merged[places.get(name)];
      if (!at) {
        const above = budgets[row.parent];
        places.set(name, merged.length);
        merged.push({...row, name, parent: above ? places.get(nameOf(above)) : -1});
        return;
      }
      for (const key of ["live", "peak", "failures"]) at[key] += row[key];
      at.limit = Math.max(at.limit, row.limit);
    });
    return merged;
  }

  // Under its parent's name a part needs no more than its own.
  function shortName(budgets, row) {
    const above = budgets[row.parent];
    return above && row.name.startsWith(`${above.name} `) ? row.name.slice(above.name.length + 1)
      : row.name;
  }

  function budgetRows(status) {
    const budgets = together(status.budgets), most = Math.max(1, ...budgets.map(row => row.peak));
    return inOrder(budgets).map(row => [
      {text: shortName(budgets, row), depth: depthOf(budgets, row)},
      {share: row.live / most, mark: Math.min(row.peak / most, 1),
        title: `${row.name}: ${bytes(row.live)}, at most ${bytes(row.peak)}`},
      bytes(row.live), bytes(row.peak), row.limit ? bytes(row.limit) : "none", alarm(row.failures)]);
  }

  function poolRows(status) {
    const most = Math.max(1, ...status.pools.map(row => row.bytes));
    return status.pools.map(row => [
      row.size ? bytes(row.size) : "larger",
      {share: row.bytes ? (row.live * row.size || row.bytes) / most : 0,
        more: row.size ? row.cached * row.size / most : 0,
        title: `${count(row.live)} in use, ${count(row.cached)} ready`},
      count(row.live), count(row.cached), count(row.peak), bytes(row.bytes), alarm(row.failures)]);
  }

  function cacheRows(status) {
    const row = (name, c, size) => [name, count(c.entries), size,
      percent(c.hits + c.misses ? 100 * c.hits / (c.hits + c.misses) : null),
      count(c.hits), count(c.misses), count(c.evictions)];
    return [row("open files", status.files, "–"),
      row("responses", status.responses, bytes(status.responses.bytes)),
      row("TLS sessions", status.sessions, bytes(status.sessions.bytes))];
  }

  function memoryRows(status) {
    const {arenas, chunks, heap, slabs} = status;
    return [
      ["heap", bytes(heap.live), bytes(heap.cached), bytes(heap.committed), alarm(heap.failures)],
      ["arenas", bytes(arenas.total - arenas.waste), "–", bytes(arenas.peak), alarm(arenas.failures)],
      ["chunks", bytes(chunks.memory), bytes(chunks.cached), bytes(chunks.memory + chunks.cached),
        alarm(chunks.failures)],
      ["connections", count(slabs.live), count(slabs.cached), bytes(slabs.bytes), alarm(slabs.failures)],
    ];
  }

  function otherRows(status) {
    const {connections, descriptors, uploads, log, chunks, traffic} = status;
    return [
      ["connections served", count(connections.accepted)],
      ["refused: too many, no memory", alarm(connections.refused)],
      ["shed for memory pressure", alarm(connections.shed)],
      ["descriptors in use / limit", `${count(descriptors.taken)} / ${count(descriptors.limit)}`],
      ["descriptors refused", alarm(descriptors.refused)],
      ["files put", count(uploads.files)],
      ["temporary files", `${count(chunks.temp_files)}, ${bytes(chunks.temp_bytes)}`],
      ["lines of the log lost", alarm(log.lost)],
      ["turns of the loops", count(traffic.turns)],
    ];
  }

  const methodRows = status => Object.entries(status.requests)
    .filter(([, row]) => sum(Object.values(row)) > 0)
    .map(([method, row]) => [method, ...["2xx", "3xx", "4xx"].map(name => count(row[name])),
      alarm(row["5xx"])]);

  // ---- the page ----

  function tile(name, text) {
    const item = make("li", byId("tiles"));
    make("span", item, {}, name);
    tiles.push({e: make("b", item, {}, "–"), text});
  }

  function build(status) {
    const colours = (keys, name) => keys.map((key, i) => [key, name(key), i % 6]);
    tile("requests per second", (s, p) => count(p.all));
    tile("p50 latency", (s, p) => time(p.p50));
    tile("p99 latency", (s, p) => time(p.p99));
    tile("connections", s => count(s.connections.open));
    tile("resident memory", s => bytes(s.process.resident_bytes));
    tile("memory pressure", s => level(s.pressure.level));
    chart("Requests per second", [["ok", "1xx–3xx", 0], ["client", "4xx", 1], ["server", "5xx", 5]],
      {stacked: true});
    chart("Latency", [["p50", "p50", 2], ["p95", "p95", 0, "dash"], ["p99", "p99", 3, "dots"]],
      {unit: time});
    chart("Connections by state", [["writing", "writing", 0], ["reading", "reading", 2],
      ["uploading", "uploading", 3], ["handshake", "handshake", 1], ["idle", "idle", 4],
      ["closing", "closing", 5]], {stacked: true});
    chart("Memory", [["resident", "resident", 0], ["committed", "heap", 1, "dash"],
      ["live", "heap in use", 2, "dots"]], {unit: bytes});
    chart("Memory pressure", [["level", "level", 5]], {unit: level, top: 3});
    chart("Budgets", colours([...new Set(budgetGroups(status).map(([key]) => key))],
      key => key.slice(7)), {unit: bytes, stacked: true, limit: "limit"});
    chart("Pools by class", colours(status.pools.map(row => `class${row.size}`),
      key => key === "class0" ? "larger" : bytes(Number(key.slice(5)))), {unit: bytes, stacked: true});
    chart("Arenas and chunks", [["arenas", "arenas", 3], ["chunks", "chunks", 0, "dash"],
      ["spare", "spare chunks", 4, "dots"]], {unit: bytes});
    chart("Cache hits", [["files", "files", 0], ["responses", "responses", 1, "dash"],
      ["sessions", "TLS sessions", 3, "dots"]], {unit: percent, top: 100});
    chart("Traffic", [["out", "out", 0], ["in", "in", 1, "dash"]], {unit: rate});
    chart("TLS handshakes per second", [["full", "full", 0], ["resumed", "resumed", 2],
      ["failed", "failed", 5]], {stacked: true});
    table("Budget tree", ["budget", "share", "bytes", "peak", "*limit", "*refused"], budgetRows);
    table("Buffers by class", ["size", "share", "in use", "ready", "*peak", "bytes", "failed"],
      poolRows);
    table("Memory by kind", ["kind", "in use", "ready", "in all", "failed"], memoryRows);
    table("Caches", ["cache", "entries", "*bytes", "hits", "hit", "missed", "*dropped"], cacheRows);
    table("Answers by method", ["method", "2xx", "3xx", "4xx", "5xx"], methodRows);
    table("Other counts", ["what", "so far"], otherRows);
  }

  function show(status, at) {
    const {process} = status;
    say(byId("version"), status.version);
    say(byId("about"), `up ${span(process.uptime_seconds)}, ${process.workers} ` +
      `worker${process.workers === 1 ? "" : "s"}`);
    tiles.forEach(({e, text}) => say(e, text(status, at)));
    charts.forEach(draw);
    tables.forEach(t => fill(t, status));
    setState(status.health === "ok" ? LEVELS[status.pressure.level] : status.health,
      status.health !== "ok" ? "bad" : status.pressure.level > 0 ? "warn" : "good");
    document.title = `${count(at.all)}/s · mmserve`;
  }

  function setState(text, kind) {
    byId("state").className = kind;
    say(byId("state"), text);
  }

  async function ask() {
    try {
      const answer = await fetch("status.json", {cache: "no-store", credentials: "same-origin"});
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const status = await answer.json();
      const at = derive(status, before);
      if (!before) build(status);
      before = status;
      misses = 0;
      if (asked++) history.push(at); // the first has nothing to compare itself with
      if (history.length > POINTS) history.shift();
      if (cursor >= 0) cursor = Math.max(cursor - (history.length === POINTS ? 1 : 0), 0);
      show(status, at);
    } catch (error) {
      misses++;
      setState(misses > 1 ? `no answer for ${misses} s` : "no answer", "bad");
    }
    plan();
  }

  // A page that nobody sees asks nothing.
  function plan() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(ask, asked === 1 ? PERIOD / 4 : PERIOD);
  }

  byId("pause").addEventListener("click", () => {
    paused = !paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    say(byId("pause"), paused ? "Go on" : "Pause");
    if (paused) { setState("paused", "warn"); clearTimeout(timer); } else { ask(); }
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) plan(); });
  ask();
})();
