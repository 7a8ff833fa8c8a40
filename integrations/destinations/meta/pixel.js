// Meta: Purchase with eventID (developers.facebook.com/docs/meta-pixel/reference, and "Handling duplicate pixel and
// Conversions API events").

const SCRIPT = "https://connect.facebook.net/en_US/fbevents.js";

pixels.meta = function (sale, tag) {
  if (!window.fbq) begin(tag.pixel_id);
  else if (!isKnown(tag.pixel_id)) window.fbq("init", tag.pixel_id);
  const items = sale.items.filter((item) => item.id);
  const purchase = {
    value: sale.value,
    currency: sale.currency,
    order_id: sale.orderId,
    content_type: tag.content_type,
    content_ids: items.map((item) => item.id),
    contents: items.map((item) => ({ id: item.id, quantity: item.quantity, item_price: item.price })),
  };
  window.fbq("trackSingle", tag.pixel_id, "Purchase", purchase, { eventID: sale.eventId });
  return vendorScript(SCRIPT, () => Boolean(window.fbq.callMethod));
};

// Meta's own base code, without its page view and without the events that it makes of clicks.
function begin(id) {
  const fbq = (window.fbq = function (...call) {
    if (fbq.callMethod) fbq.callMethod.apply(fbq, call);
    else fbq.queue.push(call);
  });
  Object.assign(fbq, { push: fbq, loaded: true, version: "2.0", queue: [] });
  window._fbq = window._fbq || fbq;
  fbq("set", "autoConfig", false, id);
  fbq("init", id);
}

function isKnown(id) {
  const state = window.fbq.getState ? window.fbq.getState() : {};
  return (state.pixels || []).some((pixel) => pixel.id === id);
}
