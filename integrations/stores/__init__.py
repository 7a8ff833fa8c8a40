"""One file per store. Being a file in this folder is the registration."""
