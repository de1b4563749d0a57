"""Memory models and the engines behind them, from the host's side (spec chapters 3 and 4)."""
