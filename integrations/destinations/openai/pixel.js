// OpenAI Ads: order_created, known again by event_id (developers.openai.com/ads/measurement-pixel).

const SCRIPT = "https://bzrcdn.openai.com/sdk/oaiq.min.js";

pixels.openai = function (sale, tag) {
  if (!window.oaiq) {
    const oaiq = (window.oaiq = function () {
      oaiq.q.push(arguments);
    });
    oaiq.q = [];
  }
  window.oaiq("init", { pixelId: tag.pixel_id });
  const order = {
    type: "contents",
    amount: minor(sale.value, sale.currency),
    currency: sale.currency,
    contents: sale.items
      .filter((item) => item.id)
      .map((item) => ({ id: item.id, name: item.name, quantity: item.quantity })),
  };
  window.oaiq("measure", "order_created", order, { event_id: sale.eventId });
  return vendorScript(SCRIPT);
};

// Amounts are whole numbers of the currency's smallest unit.
function minor(value, currency) {
  const form = new Intl.NumberFormat("en", { style: "currency", currency });
  return Math.round(value * 10 ** form.resolvedOptions().maximumFractionDigits);
}
