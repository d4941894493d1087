"""How a device comes to its next release. No names here: import the file that holds what you need."""
