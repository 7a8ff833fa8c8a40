// Shopify: hands on what was captured as cart attributes (shopify.dev, Ajax API, "/cart/update.js"); the order's
// webhook has them as note_attributes.

const CART = "purchase_relay_cart";
const CART_MINUTES = 30;
let writing = Promise.resolve();
let isAsking = false;

// One request after the other, and only with what the cart has not got yet: each may cross one of the theme's own.
function handOver(attributes, config) {
  askForConsent();
  writing = writing.then(() => write(attributes, config)).catch(() => {});
}

// Shopify's answer is there once its feature is loaded (shopify.dev, Customer Privacy API); a theme need not do it.
function askForConsent() {
  const shopify = window.Shopify || {};
  if (isAsking || shopify.customerPrivacy || !shopify.loadFeatures) return;
  isAsking = true;
  shopify.loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], () => window.purchaseRelay.update());
}

async function write(attributes, config) {
  const changes = differences(written() || (await inCart(config)), attributes);
  if (Object.keys(changes).some((name) => name !== "event_source_url")) {
    const body = JSON.stringify({ attributes: changes });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`${root()}cart/update.js`, { method: "POST", headers, body, keepalive: true });
    if (!answer.ok) return;
  }
  note(attributes);
}

// Of the shop in the shopper's language.
function root() {
  return ((window.Shopify || {}).routes || {}).root || "/";
}

// What this cart was told already, as far as that is known. After an order there is a new one, and perhaps without
// notice.
function written() {
  if (/\/(checkouts|orders)\//.test(document.referrer)) return null;
  try {
    const past = JSON.parse(sessionStorage.getItem(CART));
    return past.cart === cookie("cart") && past.at > Date.now() - CART_MINUTES * 60000 ? past.attributes : null;
  } catch (error) {
    return null;
  }
}

// The cart's own word: it may hold what an earlier visit allowed.
async function inCart(config) {
  const answer = await fetch(`${root()}cart.js`);
  const found = (await answer.json()).attributes || {};
  const ours = new Set(["_consent_state", "event_source_url"]);
  for (const name of config.names) ours.add(name).add(`_${name}`);
  return Object.fromEntries(Object.entries(found).filter(([name, value]) => ours.has(name) && value));
}

function note(attributes) {
  try {
    sessionStorage.setItem(CART, JSON.stringify({ cart: cookie("cart"), at: Date.now(), attributes }));
  } catch (error) {
    // Without storage each page asks the cart again.
  }
}

// An attribute is removed by writing it empty.
function differences(before, now) {
  const changes = {};
  for (const name of Object.keys(before)) if (!(name in now)) changes[name] = "";
  for (const [name, value] of Object.entries(now)) if (before[name] !== value) changes[name] = value;
  return changes;
}
