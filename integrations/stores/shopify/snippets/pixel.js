// purchase-relay for the shop %%shop%%: fires the purchase of each destination with the id that the server uses.
// Where: Shopify admin > Settings > Customer events > Add custom pixel. Permission: required, marketing and
// analytics. Data sale: data collected qualifies as data sale. Save, then connect.
const relay = {
  queue: [],
  init,
  browser,
  customerPrivacy: typeof customerPrivacy === "undefined" ? null : customerPrivacy,
};
window.purchaseRelayPixel = relay;
analytics.subscribe("checkout_completed", (event) => relay.queue.push(event));
const script = document.createElement("script");
Object.assign(script, { async: true, src: "%%pixel%%" });
document.head.appendChild(script);
