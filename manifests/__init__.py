"""Weight manifests (spec §3.6, §6.3): schema, checks, generator."""
