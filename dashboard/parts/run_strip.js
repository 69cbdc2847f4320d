// The line over every page. Elapsed time and age of the data count here, so that nothing is sent while nothing changes.
const duration = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
};

const item = (parent, label, text, className = "") => {
  const outer = document.createElement("span");
  if (label) {
    const name = document.createElement("span");
    name.className = "label";
    name.textContent = label;
    outer.append(name);
  }
  const value = document.createElement("b");
  value.textContent = text;
  value.className = className;
  outer.append(value);
  parent.append(outer);
  return value;
};

// The scripts of the charts, while the rest of the page is put together.
const fetchAhead = (addresses) => {
  if (window.lambdafitAhead) return;
  window.lambdafitAhead = true;
  for (const [address, rel] of Object.entries(addresses)) {
    const link = document.createElement("link");
    link.rel = rel;
    if (rel === "preload") link.as = "script";
    link.href = new URL(address, document.baseURI).href;
    document.head.append(link);
  }
};

export default function (component) {
  const { parentElement, data } = component;
  if (Object.keys(data.ahead).length) fetchAhead(data.ahead);
  const strip = parentElement.querySelector(".run-strip");
  const began = performance.now();
  strip.replaceChildren();
  const status = item(strip, "", `${data.sign} ${data.status}`, `status ${data.status.replace(" ", "-")}`);
  item(strip, data.run_id, data.recipe);
  if (data.doing) item(strip, "", data.doing);
  item(strip, "round", data.round);
  item(strip, "epoch", data.epoch);
  if (data.quality) item(strip, "", data.quality);
  const elapsed = item(strip, "elapsed", "");
  item(strip, "cost", data.cost);
  const age = data.counting ? item(strip, "", "") : null;

  const mine = strip.firstChild;
  let timer = 0;
  const tick = () => {
    if (strip.firstChild !== mine) { // another call has drawn the line anew; Streamlit ends only the last one
      clearInterval(timer);
      return;
    }
    const passed = data.counting ? (performance.now() - began) / 1000 : 0;
    elapsed.textContent = duration(data.elapsed_s + passed);
    if (!age) return;
    const seconds = data.age_s + passed;
    const stale = seconds >= data.stale_s;
    age.textContent = data.paused
      ? `paused, data ${duration(seconds)} old`
      : stale ? `no data for ${duration(seconds)}` : `data ${duration(seconds)} old`;
    age.className = stale || data.paused ? "stale" : "";
  };
  tick();
  strip.title = status.textContent;
  if (!data.counting) return undefined;
  timer = setInterval(tick, 1000);
  return () => clearInterval(timer);
}
