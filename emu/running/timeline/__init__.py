"""The rtl-v1 timeline, host side: a timing file as arrays, and what the placed instructions tell (spec chapter 7)."""
