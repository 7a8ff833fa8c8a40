// Shopify: the purchase as the web pixel event checkout_completed tells it (shopify.dev, Web Pixels API).

// order.id was seen as bare digits and as gid://shopify/OrderIdentity/5210499102, and may be null; the digits are
// the webhook's id. The order's name and number are not told.
function orderOf(event, config) {
  const checkout = (event.data || {}).checkout || {};
  const digits = /[0-9]+$/.exec(String((checkout.order || {}).id || ""));
  const total = checkout.totalPrice || {};
  return {
    names: {
      order_id: digits ? digits[0] : undefined,
      checkout_token: checkout.token || undefined,
      shop: config.shop,
      attributes: pairsOf((checkout.attributes || []).map((pair) => [pair.key, pair.value])),
    },
    value: total.amount,
    currency: total.currencyCode || checkout.currencyCode,
    items: (checkout.lineItems || []).map(itemOf),
  };
}

function itemOf(line) {
  const variant = line.variant || {};
  return {
    product_id: textOf((variant.product || {}).id),
    variant_id: textOf(variant.id),
    sku: textOf(variant.sku),
    title: textOf(line.title),
    quantity: line.quantity,
    price: (variant.price || {}).amount,
  };
}

// What the pasted pixel left for us: {queue, init, browser, customerPrivacy}. It runs in a frame of its own, which
// reaches the shop's cookies and storage only through `browser`.
function whenOrdered(config, tell) {
  const { queue, init, browser, customerPrivacy } = window.purchaseRelayPixel;
  let privacy = init.customerPrivacy || {};
  if (customerPrivacy) {
    customerPrivacy.subscribe("visitorConsentCollected", (event) => {
      privacy = event.customerPrivacy || privacy;
    });
  }
  const page = {
    cookie: async (name) => (await browser.cookie.get(name)) || "",
    stored: async (name) => (await browser.localStorage.getItem(name)) || "",
    store: (name, text) => browser.localStorage.setItem(name, text),
    consent: () => combined([["shopify", fromShopify(privacy)]]),
    address: init.context.document.location.href,
  };
  const take = (event) => tell(orderOf(event, config), page);
  queue.push = take;
  queue.splice(0).forEach(take);
}
