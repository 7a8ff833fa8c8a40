"""Strict stand-ins: senders of signed hooks and servers that judge like the destinations do.

For `purchase-relay demo` and for the tests; nothing in production imports this package.
"""
