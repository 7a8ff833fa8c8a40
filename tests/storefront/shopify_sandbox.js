// Imitates where Shopify runs a custom pixel: a frame with sandbox="allow-scripts allow-forms", so without an origin,
// cookies or storage of its own, into which `analytics`, `browser`, `init` and `customerPrivacy` are given. What
// `browser` does is done in the page around it, and answered by promises (shopify.dev, Web Pixels API: "About web
// pixels", sandbox environments; the types of @shopify/web-pixels-extension 2.18.0). A pixel whose permission is not
// given does not run at all.
//
// startPixels(code, init, event): runs the code and publishes the event to it.

const browserCalls = {
  "cookie.get": (name) => (document.cookie.match(new RegExp(`(?:^|; )${name}=([^;]*)`)) || [])[1] || "",
  "localStorage.getItem": (name) => localStorage.getItem(name),
  "localStorage.setItem": (name, text) => localStorage.setItem(name, text),
};

function insideFrame(init) {
  const waiting = new Map();
  const subscribers = [];
  const ask = (call) => (...values) =>
    new Promise((resolve) => {
      const id = `${Math.random()}`;
      waiting.set(id, resolve);
      parent.postMessage({ id, call, values }, "*");
    });
  addEventListener("message", ({ data }) => {
    if (data.event) subscribers.forEach(([name, call]) => name === data.event.name && call(data.event));
    else waiting.get(data.id)(data.answer);
  });
  const api = {
    analytics: { subscribe: (name, call) => subscribers.push([name, call]) },
    browser: {
      cookie: { get: ask("cookie.get") },
      localStorage: { getItem: ask("localStorage.getItem"), setItem: ask("localStorage.setItem") },
    },
    init,
    customerPrivacy: { subscribe() {} },
  };
  return api;
}

function startPixels(code, init, event) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts allow-forms";
  addEventListener("message", ({ data, source }) => {
    if (source !== frame.contentWindow) return;
    if (data === "ready") source.postMessage({ event }, "*");
    else source.postMessage({ id: data.id, answer: browserCalls[data.call](...data.values) }, "*");
  });
  const given = JSON.stringify(init).replace(/</g, "\\u003c");
  frame.srcdoc = `<!doctype html><head></head><script>
    ${insideFrame}
    (({ analytics, browser, init, customerPrivacy }) => { ${code} })(insideFrame(${given}));
    parent.postMessage("ready", "*");
  </` + "script>";
  document.body.append(frame);
}
