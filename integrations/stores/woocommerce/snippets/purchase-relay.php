<?php
/**
 * Plugin Name: purchase-relay for the shop %%shop%%
 * Description: Notes what a visit came from, hands it to the order, and fires the purchase with the server's id.
 *
 * Where: wp-content/mu-plugins/purchase-relay.php (make the folder if there is none; nothing to activate).
 * For the classic and the block checkout, with orders in their own tables (HPOS) or as posts.
 */

defined( 'ABSPATH' ) || exit;

// Nothing else is taken from the cookie: whoever visits the shop can write it.
const PURCHASE_RELAY_NAMES    = array( %%names%% );
const PURCHASE_RELAY_IDS      = array( %%ids%% );
const PURCHASE_RELAY_STATUSES = array( %%statuses%% );

add_action(
	'wp_enqueue_scripts',
	function () {
		wp_enqueue_script( 'purchase-relay', '%%capture%%', array(), null, array( 'strategy' => 'async' ) );
	}
);

function purchase_relay_note( $order ) {
	$noted = isset( $_COOKIE['purchase_relay'] ) ? json_decode( wp_unslash( $_COOKIE['purchase_relay'] ), true ) : null;
	foreach ( PURCHASE_RELAY_NAMES as $name ) {
		$value = is_array( $noted ) && isset( $noted[ $name ] ) ? $noted[ $name ] : '';
		if ( is_string( $value ) && preg_match( '/^[!-~]{1,500}$/D', $value ) ) {
			$order->update_meta_data( $name, $value );
		}
	}
}
add_action( 'woocommerce_checkout_create_order', 'purchase_relay_note' );
add_action( 'woocommerce_store_api_checkout_update_order_from_request', 'purchase_relay_note' );

add_action(
	'woocommerce_thankyou',
	function ( $order_id ) {
		$order = wc_get_order( $order_id );
		// Once, however often and wherever the page is opened again, and only for what counts as a sale.
		if ( ! $order || ! $order->has_status( PURCHASE_RELAY_STATUSES ) || $order->get_meta( '_purchase_relay_told' ) ) {
			return;
		}
		$order->update_meta_data( '_purchase_relay_told', '1' );
		$order->save_meta_data();
		$told = array(
			'order_id'     => (string) $order->get_id(),
			'order_number' => (string) $order->get_order_number(),
			'order_key'    => $order->get_order_key(),
			'value'        => (float) $order->get_total(),
			'currency'     => $order->get_currency(),
			'attributes'   => (object) array(),
			'items'        => array(),
		);
		foreach ( PURCHASE_RELAY_IDS as $name ) {
			$told['attributes']->$name = (string) $order->get_meta( $name );
		}
		foreach ( $order->get_items() as $item ) {
			$product         = $item->get_product();
			$told['items'][] = array(
				'product_id' => (string) $item->get_product_id(),
				'variant_id' => $item->get_variation_id() ? (string) $item->get_variation_id() : '',
				'sku'        => $product ? $product->get_sku() : '',
				'title'      => $item->get_name(),
				'quantity'   => $item->get_quantity(),
				'price'      => round( ( $item->get_total() + $item->get_total_tax() ) / max( 1, $item->get_quantity() ), 3 ),
			);
		}
		$json = wp_json_encode( $told, JSON_HEX_TAG | JSON_HEX_AMP );
		echo '<script>window.purchaseRelayOrder = ' . $json . ';</script><script async src="%%pixel%%"></script>';
	}
);
