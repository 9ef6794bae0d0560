"use strict";
/* Keeps an open page true: live events, ages, the clock, and the banner that says when it is none of these.
 *
 * From: /events (server-sent events). To: the elements of the page. Every text comes from the server, in the page's
 * language; text goes in as text, never as markup, except the alert list, which the server has escaped.
 */
(() => {
  const body = document.body;
  const words = JSON.parse(body.dataset.words);
  const zone = body.dataset.zone;
  const staleAfterMs = Number(body.dataset.staleAfterMs);
  const silenceMs = Number(body.dataset.silenceMs);
  const byId = (id) => document.getElementById(id);
  const say = (key, fields = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => String(fields[name]));

  const spans = [[86400, "ago_d"], [3600, "ago_h"], [60, "ago_m"], [1, "ago_s"]];
  const span = (seconds) => {
    const [size, key] = spans.find(([s]) => s === 1 || seconds >= 2 * s);
    return say(key, { n: Math.floor(Math.max(0, seconds) / size) });
  };
  window.undercity = { say, span, zone };

  // Server time, not this computer's: a wrong clock on a desk must not make values look young.
  let beat = { now: Number(body.dataset.serverMs), last: null, stale: body.dataset.stale.split(" ").filter(Boolean) };
  let beatAt = performance.now();
  let pace = 1; // the server's seconds per real one: a demo city lives faster
  const serverNow = () => beat.now + (performance.now() - beatAt) * pace;

  function take(event) {
    const at = performance.now();
    const seen = at - beatAt > 500 ? (event.now - beat.now) / (at - beatAt) : pace;
    pace = Math.abs(seen - 1) < 0.2 ? 1 : Math.max(0, seen);
    beat = event;
    beatAt = at;
  }

  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });

  function reasons() {
    if (performance.now() - beatAt > silenceMs) return ["connection"];
    const codes = beat.stale.slice();
    if (beat.last !== null && serverNow() - beat.last > staleAfterMs && !codes.includes("pipeline")) codes.push("pipeline");
    return codes;
  }

  let shownCodes = null;
  function showVital() {
    const codes = reasons();
    const why = codes.map((code) => say(`stale_${code}`, { age: span((serverNow() - (beat.last ?? 0)) / 1000) })).join(" · ");
    if (byId("stale-why").textContent !== why) byId("stale-why").textContent = why;
    if (codes.join() !== shownCodes) {
      shownCodes = codes.join();
      byId("stale").hidden = codes.length === 0;
      body.classList.toggle("is-stale", codes.length > 0);
      byId("pulse").textContent = codes.length ? say("stale") : say("live");
    }
    // The clock stands still with the connection: a running clock would look alive.
    if (!codes.includes("connection")) byId("clock").textContent = clock.format(serverNow());
  }

  function showAges() {
    const now = serverNow();
    for (const element of document.querySelectorAll("[data-at]")) {
      const at = Number(element.dataset.at);
      const text = at ? span((now - at) / 1000) : say("never");
      if (element.textContent !== text) element.textContent = text;
    }
  }

  const holders = new Map();
  for (const element of document.querySelectorAll("[data-device]:not(.chart)")) holders.set(element.dataset.device, element);

  function showRow(device, row) {
    const holder = holders.get(device);
    if (!holder) return;
    const mark = holder.querySelector("[data-state]");
    if (mark && (mark.dataset.state !== row.state || mark.dataset.rank !== String(row.rank))) {
      mark.dataset.state = row.state;
      mark.dataset.rank = row.rank;
      mark.className = `state ${row.state} r${row.rank}`;
      mark.textContent = say(`state_${row.state}`) + (row.rank ? ` ${row.rank}` : "");
      if (holder.tagName === "TR") holder.className = row.state;
    }
    for (const [quantity, [text, quality, at]] of Object.entries(row.cells)) {
      const name = CSS.escape(quantity);
      const cell = holder.querySelector(`[data-quantity="${name}"]`);
      if (cell) {
        if (cell.textContent !== text) cell.textContent = text;
        cell.className = `${cell.tagName === "TD" ? "num " : ""}q${quality}`;
      }
      const age = holder.querySelector(`[data-age-of="${name}"]`);
      if (age) age.dataset.at = at;
      const judged = holder.querySelector(`[data-quality-of="${name}"]`);
      if (judged) judged.textContent = say(`quality_${quality}`);
    }
    const age = holder.querySelector("[data-at]:not([data-age-of])");
    if (age) age.dataset.at = row.at;
  }

  function showCounts(counts) {
    for (const tile of document.querySelectorAll(".kind")) {
      const [reporting, silent, alarming, worst, waiting] = counts[tile.dataset.kind] ?? [];
      for (const [name, n] of Object.entries({ reporting, silent, alarming, waiting })) {
        const place = tile.querySelector(`.n.${name}`);
        if (n === undefined || !place) continue;
        place.querySelector("i").textContent = n;
        place.className = `n ${name}${name === "alarming" ? ` r${worst}` : ""}${n ? "" : " zero"}`;
      }
    }
  }

  function showAlerts(event) {
    const list = byId("alert-list");
    if (list && event.html !== undefined) {
      const focused = document.activeElement?.closest("[data-alert]")?.dataset.alert;
      list.innerHTML = event.html;
      if (focused) list.querySelector(`[data-alert="${CSS.escape(focused)}"] a`)?.focus();
      byId("alert-count").textContent = event.count;
      document.title = `${event.count ? `(${event.count}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
    }
    if (event.new.length) byId("announce").textContent = event.new.map((text) => say("new_alert", { text })).join("; ");
    const { watchAlert, watchDevice } = body.dataset;
    if (event.changed.some(([id, device]) => id === watchAlert || (watchDevice && device === watchDevice))) refresh();
  }

  let refreshing = null;
  function refresh() {
    if (refreshing) return;
    refreshing = setTimeout(async () => {
      refreshing = null;
      const answer = await fetch(location.href).catch(() => null);
      if (!answer?.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-fragment]")) {
        const next = fresh.getElementById(old.id);
        if (next && !old.contains(document.activeElement)) old.replaceWith(document.adoptNode(next));
      }
      document.dispatchEvent(new Event("undercity:changed"));
    }, 300);
  }

  let source = null;
  function connect() {
    if (source || document.hidden) return;
    source = new EventSource(`${body.dataset.events}&lang=${body.dataset.language}`);
    const on = (name, show) => source.addEventListener(name, (message) => show(JSON.parse(message.data)));
    on("beat", (event) => {
      take(event);
      byId("lag").textContent = event.lag || event.store ? say("lag", { n: event.lag, m: event.store }) : "";
      showVital();
    });
    on("alerts", showAlerts);
    on("counts", showCounts);
    on("values", (rows) => Object.entries(rows).forEach(([device, row]) => showRow(device, row)));
    source.addEventListener("error", () => {
      // The browser connects again by itself, except after a refusal.
      if (source?.readyState === EventSource.CLOSED) disconnect(), setTimeout(connect, 3000);
    });
  }
  function disconnect() {
    source?.close();
    source = null;
  }

  // A browser opens six connections to one server: hidden tabs give theirs back and catch up when looked at.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);
  setInterval(() => { showVital(); showAges(); }, 500);
  showVital();
})();
