"""The machine's state: memories and registers as arrays, preloads into them, dumps out of them."""
