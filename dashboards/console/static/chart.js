"use strict";
/* Draws one quantity's course per figure: mean line, min/max band, limits, alert spans.
 *
 * From: /api/history. To: uPlot. Grey and slate for what is normal; colour for alert spans alone.
 */
(() => {
  const { say, span, zone } = window.undercity;
  const language = document.body.dataset.language;
  const INK = "#24303b", GRID = "#d9dde1", LINE = "#2f4b66", BAND = "rgba(47, 75, 102, 0.16)", LIMIT = "#5d6873";
  const SPANS = { high: "rgba(196, 22, 42, 0.16)", medium: "rgba(214, 119, 0, 0.17)", low: "rgba(150, 120, 0, 0.15)" };
  const FONT = '12px system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif';
  const format = (options) => new Intl.DateTimeFormat("sv-SE", { timeZone: zone, ...options });
  const hours = format({ hour: "2-digit", minute: "2-digit" });
  const seconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const days = { format: (at) => full.format(at).slice(5, 10) };
  const full = format({ dateStyle: "short", timeStyle: "medium" });

  const tick = (step) => (t) => {
    const at = new Date(t * 1000);
    if (step < 60) return seconds.format(at);
    const time = hours.format(at);
    return time === "00:00" || step >= 86400 ? days.format(at) : time;
  };

  /* Limits near the data widen the scale, so that the distance to them is seen; far ones are named in the caption. */
  function scale(low, high, limits, own) {
    if (own !== null) {
      low = Math.min(low ?? own, own);
      high = Math.max(high ?? own, own);
    }
    if (low === null || high === null) return [0, 1];
    const spread = Math.max(high - low, Math.abs(high) * 0.02, 1e-6);
    let [from, to] = [low, high];
    for (const { value, faint } of limits) {
      const reach = (faint ? 0.4 : 1.5) * spread;
      if (value >= low - reach && value <= high + reach) [from, to] = [Math.min(from, value), Math.max(to, value)];
    }
    const pad = Math.max(to - from, spread) * 0.08;
    return [from - pad, to + pad];
  }

  function decorate(data, marks) {
    const edges = (u, t) => Math.min(Math.max(u.valToPos(t, "x", true), u.bbox.left), u.bbox.left + u.bbox.width);
    return {
      drawClear: [(u) => {
        for (const alert of data.alerts) {
          const from = edges(u, alert.from), to = edges(u, alert.to);
          if (to <= u.bbox.left || from >= u.bbox.left + u.bbox.width) continue;
          u.ctx.fillStyle = SPANS[alert.severity] ?? SPANS.low;
          u.ctx.fillRect(from, u.bbox.top, Math.max(to - from, 2), u.bbox.height);
          u.ctx.fillStyle = INK;
          u.ctx.font = `${12 * devicePixelRatio}px system-ui, "Noto Sans CJK SC", sans-serif`;
          u.ctx.textAlign = "left";
          u.ctx.textBaseline = "top";
          u.ctx.save();
          u.ctx.beginPath();
          u.ctx.rect(from, u.bbox.top, to - from, u.bbox.height);
          u.ctx.clip();
          u.ctx.fillText(alert.title, from + 4, u.bbox.top + 3);
          u.ctx.restore();
        }
      }],
      draw: [(u) => {
        for (const { value, text, dash } of marks) {
          const y = u.valToPos(value, "y", true);
          if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) continue;
          u.ctx.save();
          u.ctx.strokeStyle = LIMIT;
          u.ctx.lineWidth = devicePixelRatio;
          u.ctx.setLineDash(dash.map((d) => d * devicePixelRatio));
          u.ctx.beginPath();
          u.ctx.moveTo(u.bbox.left, y);
          u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
          u.ctx.stroke();
          u.ctx.fillStyle = LIMIT;
          u.ctx.font = `${11 * devicePixelRatio}px system-ui, "Noto Sans CJK SC", sans-serif`;
          u.ctx.textAlign = "right";
          u.ctx.textBaseline = "bottom";
          u.ctx.fillText(text, u.bbox.left + u.bbox.width - 4, y - 2);
          u.ctx.restore();
        }
      }],
    };
  }

  function marksOf(data, own) {
    const number = (v) => `${v} ${data.unit}`.trim();
    const limits = own !== null ? [own] : [...new Set(data.limits.map((limit) => limit.value))];
    return [
      ...limits.map((value) => ({ value, text: `${say("chart_limit")} ${number(value)}`, dash: [6, 4] })),
      ...data.plausible.map((value, i) => (
        { value, text: `${say(i ? "chart_plausible_high" : "chart_plausible_low")} ${number(value)}`, dash: [2, 4], faint: true }
      )),
    ];
  }

  function options(data, width, height, marks, own) {
    const banded = data.low !== null;
    const value = (_, v) => (v === null || v === undefined ? "—" : `${v.toFixed(data.decimals)} ${data.unit}`.trim());
    const edge = (label) => ({ label, stroke: "transparent", points: { show: false }, value });
    const series = [
      { label: say("chart_time"), value: (_, t) => (t === null ? "—" : full.format(new Date(t * 1000))) },
      { label: say(banded ? "chart_mean" : "chart_value"), stroke: LINE, width: 1.5, points: { size: 4 }, value },
    ];
    if (banded) series.push(edge(say("chart_high")), edge(say("chart_low")));
    const axis = { stroke: INK, font: FONT, grid: { stroke: GRID, width: 1 }, ticks: { stroke: GRID, width: 1 } };
    return {
      width, height, series,
      bands: banded ? [{ series: [2, 3], fill: BAND }] : [],
      scales: {
        x: { time: true, range: () => [data.from, data.to] },
        y: { range: (_, low, high) => scale(low, high, marks, own) },
      },
      axes: [
        { ...axis, space: 70, values: (_, splits, __, ___, step) => splits.map(tick(step)) },
        { ...axis, size: 58 },
      ],
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), zone),
      cursor: { drag: { x: false, y: false } },
      hooks: decorate(data, marks),
    };
  }

  function caption(figure, data) {
    const values = data.v.filter((v) => v !== null);
    const notes = [];
    if (!values.length) notes.push(say("chart_empty"));
    else notes.push(data.every_s ? say("chart_bucket", { age: span(data.every_s) }) : say("chart_raw", { n: values.length }));
    if (values.length) {
      const lows = (data.low ?? data.v).filter((v) => v !== null), highs = (data.high ?? data.v).filter((v) => v !== null);
      const bounds = [lows.reduce((a, b) => Math.min(a, b)), highs.reduce((a, b) => Math.max(a, b))];
      notes.push(bounds.map((v) => v.toFixed(data.decimals)).join(" – "));
    }
    if (data.bad) notes.push(say("chart_bad", { n: data.bad }));
    figure.querySelector(".note").textContent = notes.join(" · ");
    figure.querySelector("b").textContent = data.label;
    figure.querySelector("small") && (figure.querySelector("small").textContent = data.unit);
  }

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.place = figure.querySelector(".plot");
      this.plot = null;
      const { device, quantity, hours, from, to, limit } = figure.dataset;
      this.limit = limit ? Number(limit) : null;
      const range = hours ? { hours } : { from, to };
      this.url = `/api/history?${new URLSearchParams({ device, quantity, ...range, lang: language })}`;
      new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
    }
    size() {
      return { width: Math.max(260, this.place.clientWidth), height: this.figure.classList.contains("tall") ? 380 : 190 };
    }
    async load() {
      const answer = await fetch(this.url).catch(() => null);
      if (!answer?.ok) {
        const why = await answer?.json().catch(() => null);
        this.figure.querySelector(".note").textContent =
          `${say("chart_failed")}${why ? `: ${language === "zh" ? why.error_zh : why.error}` : ""}`;
        return;
      }
      const data = await answer.json();
      const columns = [data.t, data.v];
      if (data.low !== null) columns.push(data.high, data.low);
      caption(this.figure, data);
      this.plot?.destroy();
      const { width, height } = this.size();
      this.plot = new uPlot(options(data, width, height, marksOf(data, this.limit), this.limit), columns, this.place);
      this.figure.dataset.points = data.t.length;
    }
  }

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
  const reload = () => document.hidden || charts.reduce((done, chart) => done.then(() => chart.load()), Promise.resolve());
  reload();
  document.addEventListener("undercity:changed", reload);
  document.addEventListener("visibilitychange", reload);
  setInterval(reload, 15000);
})();
