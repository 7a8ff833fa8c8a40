// WooCommerce: the purchase as the plugin prints it into the order-received page (woocommerce_thankyou).

// The plugin knows the whole order, so that every name of a template is there.
function orderOf(told, config) {
  const number = textOf(told.order_number);
  return {
    names: {
      order_id: textOf(told.order_id),
      order_name: number,
      order_number: number,
      order_key: textOf(told.order_key),
      checkout_token: "",
      session_id: "",
      payment_intent: "",
      shop: config.shop,
      attributes: pairsOf(Object.entries(told.attributes || {})),
    },
    value: told.value,
    currency: told.currency,
    items: told.items || [],
  };
}

function whenOrdered(config, tell) {
  if (window.purchaseRelayOrder) tell(orderOf(window.purchaseRelayOrder, config), ownPage());
}
