<?php
// Imitates as much of WordPress and WooCommerce as the plugin calls, each function as their own code has it
// (developer.wordpress.org/reference, woocommerce.github.io/code-reference). Reads one JSON document:
//   {"plugin": path, "action": hook, "cookie": {name: value as the browser sent it}, "order": {…, "meta": {}}}
// and prints {"meta": of the order afterwards, "html": what was printed, "scripts": {handle: address}}.

define( 'ABSPATH', __DIR__ );
error_reporting( E_ALL );
set_error_handler( fn( $n, $message ) => throw new ErrorException( $message ) );

$actions = array();
$scripts = array();
function add_action( $hook, $call, $priority = 10, $args = 1 ) {
	$GLOBALS['actions'][ $hook ][] = array( $call, $args );
}
function wp_enqueue_script( $handle, $src = '', $deps = array(), $ver = false, $args = array() ) {
	$GLOBALS['scripts'][ $handle ] = $src;
}
function wp_unslash( $value ) {
	return stripslashes( $value );
}
function wp_json_encode( $value, $flags = 0, $depth = 512 ) {
	return json_encode( $value, $flags, $depth );
}
function wc_get_order( $id ) {
	return (int) $id === $GLOBALS['order']->get_id() ? $GLOBALS['order'] : false;
}

class Record {
	public function __construct( public array $data ) {}
	public function __call( $name, $arguments ) {
		if ( ! str_starts_with( $name, 'get_' ) || ! array_key_exists( substr( $name, 4 ), $this->data ) ) {
			throw new BadMethodCallException( $name );
		}
		return $this->data[ substr( $name, 4 ) ];
	}
}
class Order extends Record {
	public bool $saved = false;
	public function has_status( $statuses ) {
		return in_array( $this->data['status'], (array) $statuses, true );
	}
	public function get_meta( $key ) {
		return $this->data['meta'][ $key ] ?? '';
	}
	public function update_meta_data( $key, $value ) {
		$this->data['meta'][ $key ] = $value;
	}
	public function save_meta_data() {
		$this->saved = true;
	}
	public function get_items() {
		return array_map( fn( $item ) => new Record( array( ...$item, 'product' => new Record( $item ) ) ), $this->data['items'] );
	}
}

$asked = json_decode( stream_get_contents( STDIN ), true );
// WordPress escapes what comes from outside, PHP has decoded it before.
$_COOKIE = array_map( fn( $value ) => addslashes( urldecode( $value ) ), $asked['cookie'] ?? array() );
$order   = new Order( $asked['order'] );
require $asked['plugin'];

$given = array(
	'wp_enqueue_scripts'                      => array(),
	'woocommerce_checkout_create_order'       => array( $order, array() ),
	'woocommerce_store_api_checkout_update_order_from_request' => array( $order, (object) array() ),
	'woocommerce_thankyou'                    => array( $order->get_id() ),
);
ob_start();
foreach ( $actions[ $asked['action'] ] ?? array() as list( $call, $args ) ) {
	$call( ...array_slice( $given[ $asked['action'] ], 0, $args ) );
}
$html = ob_get_clean();
echo json_encode( array( 'meta' => (object) $order->data['meta'], 'html' => $html, 'scripts' => (object) $scripts, 'saved' => $order->saved ) );
