"""One file per destination. Being a file in this folder is the registration."""
