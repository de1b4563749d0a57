"""What people look at: tables and JSON."""
