// Google Analytics 4: purchase, known again by its transaction_id (support.google.com/analytics/answer/12313109).

const SCRIPT = "https://www.googletagmanager.com/gtag/js";

pixels.ga4 = function (sale, tag) {
  const id = tag.measurement_id;
  window.dataLayer = window.dataLayer || [];
  if (!window.gtag) {
    window.gtag = function () {
      window.dataLayer.push(arguments);
    };
    window.gtag("js", new Date());
  }
  window.gtag("config", id, { send_page_view: false });
  window.gtag("event", "purchase", {
    send_to: id,
    transaction_id: sale.eventId,
    value: sale.value,
    currency: sale.currency,
    items: sale.items.map((item) => ({
      item_id: item.id,
      item_name: item.name,
      price: item.price,
      quantity: item.quantity,
    })),
  });
  return vendorScript(`${SCRIPT}?id=${id}`, () => Boolean((window.google_tag_manager || {})[id]));
};
