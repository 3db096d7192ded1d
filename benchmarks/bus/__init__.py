"""The bus and what depends on it, beside NATS JetStream."""
