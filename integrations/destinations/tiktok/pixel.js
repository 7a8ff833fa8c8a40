// TikTok: the purchase under the account's own name for it, with event_id (TikTok Business Help Center, "About
// event deduplication").

const SCRIPT = "https://analytics.tiktok.com/i18n/pixel/events.js";
const METHODS = ["page", "track", "identify", "instances", "debug", "on", "off", "once", "ready"];

pixels.tiktok = function (sale, tag) {
  if (!window.ttq) begin(tag.pixel_id);
  const purchase = {
    value: sale.value,
    currency: sale.currency,
    order_id: sale.orderId,
    contents: sale.items
      .filter((item) => item.id)
      .map((item) => ({
        content_id: item.id,
        content_type: tag.content_type,
        content_name: item.name,
        price: item.price,
        quantity: item.quantity,
      })),
  };
  window.ttq.instance(tag.pixel_id).track(tag.event_name, purchase, { event_id: sale.eventId });
  return vendorScript(`${SCRIPT}?sdkid=${tag.pixel_id}&lib=ttq`);
};

// TikTok's own base code, without its page view: calls wait in lists until the script is there.
function begin(id) {
  const waiting = (list) => {
    for (const method of METHODS) list[method] = (...call) => list.push([method, ...call]);
    return list;
  };
  const ttq = waiting([]);
  const own = Object.assign([], { _u: SCRIPT });
  Object.assign(ttq, { methods: METHODS, _i: { [id]: own }, _t: { [id]: Date.now() }, _o: { [id]: {} } });
  ttq.instance = (name) => waiting(ttq._i[name] || []);
  Object.assign(window, { TiktokAnalyticsObject: "ttq", ttq });
}
