"""The rooms of the command line: `frame` is what all commands share, each other file a few of them."""
