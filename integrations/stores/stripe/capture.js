// Stripe: your own pages make the Checkout session or payment intent, so what was captured goes there:
// - into what every form marked data-purchase-relay sends, as metadata[NAME], to be passed on as metadata;
// - or wherever you call purchaseRelay.attributes();
// - to payment links, which take nothing else, as a client_reference_id that is new with every click.

const REFERENCE = "purchase_relay_reference";
const LINK = "a[href^='https://buy.stripe.com/']";
const MOST_METADATA = 40; // of the 50 that Stripe takes, some are the shop's own
let handed = null;
let mayRefer = false;

function handOver(attributes, config, isWelcome) {
  if (!handed) {
    document.addEventListener("formdata", fill);
    document.addEventListener("click", refer, true);
  }
  handed = attributes;
  mayRefer = isWelcome;
  if (!isWelcome) keep(REFERENCE, "");
}

function fill(sent) {
  if (!sent.target.matches("form[data-purchase-relay]")) return;
  for (const [name, value] of Object.entries(handed).slice(0, MOST_METADATA)) {
    sent.formData.set(`metadata[${name}]`, value);
  }
}

// A reference of the shop's own stays.
function refer(clicked) {
  const link = clicked.target.closest && clicked.target.closest(LINK);
  if (!link || !mayRefer) return;
  const address = new URL(link.href);
  const given = address.searchParams.get("client_reference_id");
  const reference = given && given !== link.dataset.purchaseRelay ? given : newReference();
  address.searchParams.set("client_reference_id", reference);
  Object.assign(link, { href: address.href });
  link.dataset.purchaseRelay = reference;
  keep(REFERENCE, JSON.stringify([reference, Date.now()]));
}

function newReference() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `pr_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
