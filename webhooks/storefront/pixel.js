// Where an order is confirmed: fires the pixel of each destination with the very id under which the server tells of
// the same purchase, once, and only if the shopper allows it; then tells the server what was fired.
//
// The store's `whenOrdered` calls with the order ({names, value, currency, items}) and the page ({cookie(name),
// stored(name), store(name, text): promises; consent(): a state; address}).

const FIRED = "purchase_relay_fired";
const FIRED_KEPT = 20;
const VENDOR_PATIENCE = 3000; // ms; until then a vendor's script is there, or something blocks it
const ANSWER_PATIENCE = 20000;
const LONGEST_BEACON = 8192;
const TOLD_NAMES = ["order_id", "order_name", "order_key", "checkout_token", "session_id", "payment_intent"];

// By slug: function (sale, tag) that fires a purchase, and promises whether the vendor's script was there to take it.
// `sale`: {eventId, names, orderId, value, currency, items: [{id, name, quantity, price}]}, `tag`: the account's
// public settings.
const pixels = {};

function startPixel(config) {
  whenOrdered(config, (order, page) => told(config, order, page).catch(() => {}));
}

async function told(config, order, page) {
  const { order_id, checkout_token, session_id, payment_intent } = order.names;
  const key = order_id || checkout_token || session_id || payment_intent;
  if (!key || !(await isFirst(page, key))) return;
  const record = recordIn(await page.stored(STORE));
  const memory = record.consent || (order.names.attributes || {})._consent_state || "";
  const state = await answered(() => withMemory(page.consent(), memory));
  const isWelcome = isAllowed(state, config.ask);
  const attributes = await handedOn(config, order, page, record, lastingConsent(memory, state), isWelcome);
  const ids = {};
  for (const account of config.accounts) {
    const id = eventId(account.event_id, order.names);
    if (id) ids[account.slug] = id;
  }
  const fired = [];
  const send = beacon(config, () => message(order, page, ids, fired, attributes));
  // For an advertisement to this person it must not be used; the server tells of it as such, a pixel cannot.
  const mayFire = isWelcome && state.ad_personalization !== "denied";
  if (mayFire) await Promise.all(config.accounts.map((account) => fire(account, order, ids, fired)));
  send();
}

// A page that is shown again tells of nothing new.
async function isFirst(page, key) {
  let seen = [];
  try {
    seen = JSON.parse(await page.stored(FIRED)) || [];
  } catch (error) {
    seen = [];
  }
  if (!Array.isArray(seen) || seen.includes(key)) return !Array.isArray(seen);
  await page.store(FIRED, JSON.stringify([...seen, key].slice(-FIRED_KEPT)));
  return true;
}

// The state as soon as a banner has its answer.
async function answered(read) {
  const until = Date.now() + ANSWER_PATIENCE;
  while (read().pending && Date.now() < until) await pause(250);
  return read();
}

function pause(wait) {
  return new Promise((resume) => setTimeout(resume, wait));
}

async function fire(account, order, ids, fired) {
  const pixel = pixels[account.destination];
  if (!pixel || !ids[account.slug] || !(order.value >= 0) || !order.currency) return;
  const sale = {
    eventId: ids[account.slug],
    names: order.names,
    orderId: order.names.order_id || ids[account.slug],
    value: order.value,
    currency: order.currency,
    items: order.items.map((item) => catalogued(item, account.tag.item_id)),
  };
  const isThere = await Promise.resolve(pixel(sale, account.tag)).catch(() => false);
  if (isThere) fired.push(account.slug);
}

function catalogued(item, template) {
  const id = template ? itemId(template, item) : "";
  return { id, name: item.title, quantity: item.quantity, price: item.price };
}

// --- vendors' scripts ----------------------------------------------------------------------------------------------

const loads = {};

// Loads the script unless the page has it; promises whether it came. `isThere` looks for what it leaves behind; of
// a script without a trace that is the page's own nobody can tell.
async function vendorScript(url, isThere) {
  if (isThere && isThere()) return true;
  const [file] = url.split("?");
  const present = Array.from(document.scripts).some((script) => script.src.split("?")[0] === file);
  if (present && !isThere && !loads[file]) return true;
  loads[file] = loads[file] || (present ? {} : load(url));
  const loading = loads[file];
  const until = Date.now() + VENDOR_PATIENCE;
  while (loading.came === undefined && !(isThere && isThere()) && Date.now() < until) await pause(50);
  return loading.came === true || Boolean(isThere && isThere());
}

function load(url) {
  const loading = {};
  const script = document.createElement("script");
  script.onload = () => (loading.came = true);
  script.onerror = () => (loading.came = false);
  Object.assign(script, { async: true, src: url });
  document.head.append(script);
  return loading;
}

// --- what the server is told ---------------------------------------------------------------------------------------

async function handedOn(config, order, page, record, consent, isWelcome) {
  const attributes = consent ? { _consent_state: consent } : {};
  if (!isWelcome) return attributes;
  const cookies = {};
  const spellings = config.names.concat(config.names.map((name) => `_${name}`));
  await Promise.all(spellings.map(async (name) => (cookies[name] = await page.cookie(name))));
  const noted = order.names.attributes || {};
  const read = (name) => own(noted, name) || cookies[name] || "";
  return { ...attributes, ...attributesOf(config.names, record.clicks, read, {}) };
}

function message(order, page, ids, fired, attributes) {
  const names = {};
  for (const name of TOLD_NAMES) if (order.names[name]) names[name] = order.names[name];
  return {
    v: 1,
    event_name: "Purchase",
    order: names,
    event_ids: ids,
    fired,
    attributes,
    page_url: cleanPage(page.address),
    at: Date.now(),
  };
}

// Returns how to send it: once, at the latest when the page goes.
function beacon(config, compose) {
  let isSent = !config.collect;
  const send = () => {
    if (isSent) return;
    isSent = true;
    post(config.collect, fitting(compose()));
  };
  window.addEventListener("pagehide", send);
  return send;
}

function fitting(told) {
  const names = Object.keys(told.attributes);
  let body = JSON.stringify(told);
  while (new Blob([body]).size > LONGEST_BEACON && names.length) {
    delete told.attributes[names.pop()];
    body = JSON.stringify(told);
  }
  return body;
}

// Text needs no leave of the other site's (no preflight).
function post(address, body) {
  if (navigator.sendBeacon && navigator.sendBeacon(address, body)) return;
  fetch(address, { method: "POST", body, mode: "no-cors", keepalive: true }).catch(() => {});
}

// The shop's own page, as `whenOrdered` hands it on.
function ownPage() {
  return {
    cookie: async (name) => cookie(name),
    stored: async (name) => kept(name),
    store: async (name, text) => keep(name, text),
    consent: consentOf(window, () => {}),
    address: location.href,
  };
}
