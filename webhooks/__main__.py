"""`python -m webhooks`: the command, found in this folder before anything else of the same name."""

from webhooks.cli import main

main(prog_name="purchase-relay")
