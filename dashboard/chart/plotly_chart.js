// A chart that stays: one DOM node over all updates, drawn by plotly.js, which comes from this server alone.
//
// Streamlit calls the default export whenever the data change, and what it returned last when the chart goes away.

const RANGE_PAUSE_MS = 200; // after the last move of a zoom, before Python hears of it
const ARRAY_KEY = "__array__";
const ARRAY_TYPES = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
  f4: Float32Array, f8: Float64Array,
};
const CONFIG = {
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "hoverClosestCartesian",
    "hoverCompareCartesian", "toggleSpikelines", "sendDataToCloud", "editInChartStudio"],
  plotlyServerURL: "",
  responsive: false, // the observer below also sees the sidebar move
  scrollZoom: false,
  showEditInChartStudio: false,
  showLink: false,
  showSendToCloud: false,
  showTips: false,
};
const charts = new WeakMap(); // parentElement -> chart
let drawings = Promise.resolve(); // one task each: the page answers between two charts of the same update

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let chart = charts.get(parentElement);
  if (!chart) {
    chart = makeChart(parentElement);
    charts.set(parentElement, chart);
  }
  // A call that was overtaken is cleared up by Streamlit at once: only the newest may take the chart down.
  const turn = ++chart.turn;
  chart.send = (range) => setStateValue("x_range", range);
  take(chart, unpack(data));
  return () => {
    if (turn === chart.turn) {
      charts.delete(parentElement);
      close(chart);
    }
  };
}

function makeChart(parentElement) {
  const node = document.createElement("div");
  node.className = "lambdafit-chart";
  node.setAttribute("role", "img");
  node.style.width = "100%";
  const notice = document.createElement("div");
  notice.style.cssText = "display:flex;align-items:center;justify-content:center;opacity:0.6;font-size:0.875rem;height:100%";
  node.append(notice);
  parentElement.append(node);
  const chart = {
    node, notice, turn: 0, wanted: null, drawn: "", isDrawn: false, isClosed: false, isPressed: false, isBusy: false,
    sent: null, timer: 0, frame: 0, send: () => {}, listening: new AbortController(), observer: null,
  };
  const { signal } = chart.listening;
  node.addEventListener("pointerdown", () => { chart.isPressed = true; }, { signal, capture: true });
  for (const name of ["pointerup", "pointercancel", "blur"]) {
    window.addEventListener(name, () => release(chart), { signal });
  }
  chart.observer = new ResizeObserver(() => fit(chart));
  chart.observer.observe(node);
  return chart;
}

function take(chart, wanted) {
  const { node, notice } = chart;
  chart.wanted = wanted;
  wanted.given = String(wanted.figure.layout.xaxis?.range ?? ""); // now, since plotly.js writes zooms into the layout
  node.style.height = `${wanted.height_px}px`;
  node.setAttribute("aria-label", wanted.alt);
  if (chart.isDrawn) {
    draw(chart);
    return;
  }
  notice.textContent = "Drawing …";
  loadPlotly(wanted.sources).then(
    () => draw(chart),
    () => { notice.textContent = "The chart cannot be drawn, because plotly.js did not arrive from this server. Reload the page."; },
  );
}

// Draws what is wanted, unless it is there already, or the user is just dragging, or a drawing is under way.
async function draw(chart) {
  if (chart.isBusy || !isDue(chart)) return;
  chart.isBusy = true;
  const { node } = chart;
  try {
    await ownTask();
    if (!isDue(chart)) return;
    const { wanted } = chart;
    chart.drawn = wanted.digest;
    if (chart.isDrawn) await window.Plotly.react(node, wanted.figure.data, layoutOf(wanted), CONFIG);
    else await drawFirst(chart, wanted);
  } finally {
    chart.isBusy = false;
    if (chart.isClosed && chart.isDrawn) window.Plotly.purge(node);
  }
  draw(chart); // what came meanwhile
}

function isDue(chart) {
  return !chart.isClosed && !chart.isPressed && chart.drawn !== chart.wanted.digest;
}

function ownTask() {
  drawings = drawings.then(() => new Promise((resolve) => { setTimeout(resolve, 0); }));
  return drawings;
}

async function drawFirst(chart, wanted) {
  const { node } = chart;
  chart.notice.remove();
  chart.isDrawn = true;
  await window.Plotly.newPlot(node, wanted.figure.data, layoutOf(wanted), CONFIG);
  node.on("plotly_relayout", (change) => heard(chart, change));
  if (wanted.live_range && wanted.x_range) {
    chart.sent = JSON.stringify(wanted.x_range);
    await window.Plotly.relayout(node, { "xaxis.range": shownRange(wanted.x_range, wanted.x_kind) });
  }
}

// The height is also in the layout, since plotly.js does not look again for that of the node.
function layoutOf(wanted) {
  return { ...wanted.figure.layout, uirevision: wanted.key, height: wanted.height_px, autosize: true };
}

// Only a user's zoom moves an axis by an event; `Plotly.react` says nothing.
function heard(chart, change) {
  const { wanted, node } = chart;
  if (!wanted.live_range || !Object.keys(change).some((name) => name.startsWith("xaxis"))) return;
  clearTimeout(chart.timer);
  chart.timer = setTimeout(() => {
    const range = knownRange(node.layout.xaxis, wanted);
    const text = JSON.stringify(range);
    if (chart.isClosed || text === (chart.sent ?? "null")) return;
    chart.sent = text;
    chart.send(range);
  }, RANGE_PAUSE_MS);
}

// The visible range in values of the axis; null where all is shown.
function knownRange(axis, wanted) {
  if (!axis || axis.autorange || !axis.range || String(axis.range) === wanted.given) return null;
  const ends = axis.range.map((end) => valueOf(end, wanted.x_kind));
  return ends[0] <= ends[1] ? ends : ends.reverse();
}

function valueOf(end, kind) {
  if (kind === "log") return 10 ** end;
  if (kind !== "date" || typeof end === "number") return Number(end);
  return Date.parse(`${end.replace(" ", "T")}${end.includes(":") ? "" : "T00:00"}Z`); // plotly's dates are UTC
}

function shownRange(range, kind) {
  return kind === "log" ? range.map(Math.log10) : range;
}

function release(chart) {
  if (!chart.isPressed) return;
  chart.isPressed = false;
  // After plotly.js has made its zoom of the drag.
  setTimeout(() => { if (chart.isDrawn) draw(chart); }, 0);
}

function fit(chart) {
  if (!chart.isDrawn || chart.frame) return;
  chart.frame = requestAnimationFrame(() => {
    chart.frame = 0;
    const { node } = chart;
    if (!chart.isClosed && node.offsetWidth > 0 && node._fullLayout?.width !== node.offsetWidth) {
      window.Plotly.Plots.resize(node);
    }
  });
}

function close(chart) {
  chart.isClosed = true;
  clearTimeout(chart.timer);
  cancelAnimationFrame(chart.frame);
  chart.listening.abort();
  chart.observer.disconnect();
  if (chart.isDrawn && !chart.isBusy) window.Plotly.purge(chart.node);
  chart.node.remove();
  chart.wanted = null;
}

// Python's message: length of the header (u4), header (JSON), then the arrays that it points to.
function unpack(bytes) {
  const size = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const message = revive(header, bytes.subarray(4 + size));
  message.figure.data.forEach(spellOut);
  return message;
}

// A heat map of codes with `meta: { words }` gets the word of each cell as its text: for hovers, without sending it.
function spellOut(trace) {
  const words = trace.meta?.words;
  if (trace.type === "heatmap" && words) trace.text = Array.from(trace.z, (row) => Array.from(row, (code) => words[code]));
}

function revive(value, blobs) {
  if (Array.isArray(value)) return value.map((part) => revive(part, blobs));
  if (value === null || typeof value !== "object") return value;
  if (ARRAY_KEY in value) return arrayOf(value[ARRAY_KEY], blobs);
  for (const name of Object.keys(value)) value[name] = revive(value[name], blobs);
  return value;
}

function arrayOf([type, offset, rows, columns], blobs) {
  const ArrayType = ARRAY_TYPES[type];
  const length = columns === undefined ? rows : rows * columns;
  const bytes = blobs.slice(offset, offset + length * ArrayType.BYTES_PER_ELEMENT); // a copy, hence aligned
  const flat = new ArrayType(bytes.buffer);
  if (columns === undefined) return flat;
  return Array.from({ length: rows }, (_, row) => flat.subarray(row * columns, (row + 1) * columns));
}

// plotly.js once a page, from the first of the addresses that has it.
function loadPlotly(sources) {
  window.lambdafitPlotly ??= sources
    .reduce((before, source) => before.catch(() => loadScript(source)), Promise.reject(new Error("no address")))
    .catch((error) => {
      window.lambdafitPlotly = undefined; // so that the next update tries again
      throw error;
    });
  return window.lambdafitPlotly;
}

function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(source, document.baseURI).href;
    const settle = () => {
      script.remove();
      if (window.Plotly) resolve(window.Plotly);
      else reject(new Error(`no plotly.js at ${script.src}`));
    };
    script.onload = settle; // an address that is unknown is answered, too: with the page itself
    script.onerror = settle;
    document.head.append(script);
  });
}
