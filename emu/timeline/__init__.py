"""The rtl-v1 timeline, host side: rules of a timing file as arrays, and what the placed instructions tell (spec §7)."""
