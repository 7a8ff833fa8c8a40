// Stripe: the purchase as the shop's own success page tells it, in the address to which Stripe sends the shopper
// back (docs.stripe.com/payments/checkout/custom-success-page) and in the attributes of the script's own tag.

const SESSION = /^cs_[A-Za-z0-9_]+$/;
const INTENT = /^pi_[A-Za-z0-9]+$/;

// `told`: {search, data: {orderId, value, currency}, reference}; `reference` is the client_reference_id with which
// this browser went to a payment link. Metadata is not told, and of a session not its payment intent.
function orderOf(told, config) {
  const query = new URLSearchParams(told.search);
  const session = matching(SESSION, query.get("session_id"));
  const intent = matching(INTENT, query.get("payment_intent"));
  return {
    names: {
      order_id: textOf(told.data.orderId) || told.reference || undefined,
      order_name: "",
      order_number: "",
      checkout_token: "",
      session_id: session || (intent ? "" : undefined),
      payment_intent: intent || undefined,
      shop: config.shop,
      attributes: undefined,
    },
    value: told.data.value ? Number(told.data.value) : undefined,
    currency: told.data.currency,
    items: [],
  };
}

function matching(form, text) {
  return text && form.test(text) ? text : "";
}

function whenOrdered(config, tell) {
  const { dataset } = document.currentScript || { dataset: {} };
  const status = new URLSearchParams(location.search).get("redirect_status");
  if (status && status !== "succeeded") return;
  tell(orderOf({ search: location.search, data: { ...dataset }, reference: sentWith() }, config), ownPage());
}

// The client_reference_id with which this browser went to a payment link, for a day (integrations/stores/stripe,
// capture.js).
function sentWith() {
  try {
    const [reference, at] = JSON.parse(kept("purchase_relay_reference"));
    return at > Date.now() - DAY ? textOf(reference) : "";
  } catch (error) {
    return "";
  }
}
