// Snapchat: PURCHASE, known again by client_dedup_id, and for a month by transaction_id (businesshelp.snapchat.com,
// "Event deduplication").

const SCRIPT = "https://sc-static.net/scevent.min.js";

pixels.snapchat = function (sale, tag) {
  if (!window.snaptr) {
    const snaptr = (window.snaptr = function (...call) {
      if (snaptr.handleRequest) snaptr.handleRequest.apply(snaptr, call);
      else snaptr.queue.push(call);
    });
    snaptr.queue = [];
  }
  window.snaptr("init", tag.pixel_id);
  window.snaptr("track", "PURCHASE", {
    client_dedup_id: sale.eventId,
    transaction_id: eventId(tag.order_id, sale.names),
    price: sale.value,
    currency: sale.currency,
    item_ids: sale.items.map((item) => item.id).filter(Boolean),
    number_items: sale.items.reduce((sum, item) => sum + item.quantity, 0),
  });
  return vendorScript(SCRIPT, () => Boolean(window.snaptr.handleRequest));
};
