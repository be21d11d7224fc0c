"""What listens: vendors' webhooks, and what tells an operator how the daemon is."""
