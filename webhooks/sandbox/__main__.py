"""``python -m webhooks.sandbox SLUG --port N``: a stand-in as a process of its own."""

from webhooks.sandbox.wire import main

main()
