// WooCommerce: hands on what was captured in a cookie, which the plugin reads when the checkout makes the order.

const HANDED = "purchase_relay";
const LONGEST_COOKIE = 3800; // bytes; browsers refuse more than 4096 with the name and where it is for

// What does not fit is left out whole, last first: half a click id is none.
function handOver(attributes) {
  const fitting = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (asCookie({ ...fitting, [name]: value }).length <= LONGEST_COOKIE) fitting[name] = value;
  }
  const isEmpty = Object.keys(fitting).length === 0;
  if (!isEmpty || cookie(HANDED)) setCookie(HANDED, isEmpty ? "" : asCookie(fitting), isEmpty ? -1 : 0);
}

function asCookie(attributes) {
  return encodeURIComponent(JSON.stringify(attributes));
}
