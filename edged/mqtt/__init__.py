"""The broker: messages, the connection that survives, the outbox, and commands that run once."""
