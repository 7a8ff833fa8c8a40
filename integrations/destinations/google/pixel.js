// Google Ads: the conversion of a website's tag, known again by its transaction_id
// (support.google.com/google-ads/answer/6386790). Without GOOGLE_TAG_LABEL nobody knows where to send it.

const SCRIPT = "https://www.googletagmanager.com/gtag/js";

pixels.google = function (sale, tag) {
  if (!tag.tag_label) return false;
  const [id] = tag.tag_label.split("/");
  window.dataLayer = window.dataLayer || [];
  if (!window.gtag) {
    window.gtag = function () {
      window.dataLayer.push(arguments);
    };
    window.gtag("js", new Date());
  }
  window.gtag("config", id, { send_page_view: false });
  window.gtag("event", "conversion", {
    send_to: tag.tag_label,
    transaction_id: sale.eventId,
    value: sale.value,
    currency: sale.currency,
  });
  return vendorScript(`${SCRIPT}?id=${id}`, () => Boolean((window.google_tag_manager || {})[id]));
};
