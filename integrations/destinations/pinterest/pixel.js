// Pinterest: checkout with event_id (help.pinterest.com, "Add event codes"; developers.pinterest.com, deduplication).
// The tag has an id of its own; without PINTEREST_TAG_ID it cannot be loaded.

const SCRIPT = "https://s.pinimg.com/ct/core.js";

pixels.pinterest = function (sale, tag) {
  if (!tag.tag_id) return false;
  if (!window.pintrk) {
    const pintrk = (window.pintrk = (...call) => pintrk.queue.push(call));
    Object.assign(pintrk, { queue: [], version: "3.0" });
  }
  window.pintrk("load", tag.tag_id);
  window.pintrk("track", "checkout", {
    event_id: sale.eventId,
    order_id: sale.orderId,
    value: sale.value,
    currency: sale.currency,
    order_quantity: sale.items.reduce((sum, item) => sum + item.quantity, 0),
    line_items: sale.items.map((item) => ({
      product_id: item.id,
      product_name: item.name,
      product_price: item.price,
      product_quantity: item.quantity,
    })),
  });
  return vendorScript(SCRIPT);
};
