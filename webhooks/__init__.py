"""What happens to an order, station by station, in the order in which an event visits them."""
