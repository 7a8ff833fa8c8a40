"""What we know of other companies: stores that send orders, destinations that receive events.

Nothing in here opens a socket, reads the environment, or knows the database, RQ or Flask.
"""
