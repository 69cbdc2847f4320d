// Streamlit sends a component's script with every change of a chart, so this one only fetches the real one, once a page.

const SOURCES = [/* addresses */];

export default async function (component) {
  try {
    window.lambdafitChart ??= firstOf(SOURCES);
    return (await window.lambdafitChart).default(component);
  } catch {
    window.lambdafitChart = undefined; // so that the next update tries again
    const words = "The chart cannot be drawn, because its script did not arrive from this server. Reload the page.";
    component.parentElement.textContent = words;
  }
}

async function firstOf(sources) {
  for (const source of sources.slice(0, -1)) {
    try {
      return await import(new URL(source, document.baseURI).href);
    } catch {
      // The next one, then.
    }
  }
  return import(new URL(sources.at(-1), document.baseURI).href);
}
