"""What runs in the shopper's browser: scripts for the pages of a shop, and the addresses that serve them.

The scripts are plain files, without a build. Each only declares functions; `scripts` puts together those
that a shop needs, with its settings, and calls the first one. What is particular to a store or a destination
stands in `integrations`, in its adapter's folder.
"""
