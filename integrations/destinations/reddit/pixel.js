// Reddit: Purchase with conversionId (business.reddithelp.com, "Event deduplication").

const SCRIPT = "https://www.redditstatic.com/ads/pixel.js";

pixels.reddit = function (sale, tag) {
  if (!window.rdt) {
    const rdt = (window.rdt = function (...call) {
      if (rdt.sendEvent) rdt.sendEvent.apply(rdt, call);
      else rdt.callQueue.push(call);
    });
    rdt.callQueue = [];
  }
  window.rdt("init", tag.pixel_id, { useDecimalCurrencyValues: true });
  window.rdt("track", "Purchase", {
    conversionId: sale.eventId,
    value: sale.value,
    currency: sale.currency,
    itemCount: sale.items.reduce((sum, item) => sum + item.quantity, 0),
    products: sale.items.filter((item) => item.id).map((item) => ({ id: item.id, name: item.name })),
  });
  return vendorScript(SCRIPT, () => Boolean(window.rdt.sendEvent));
};
