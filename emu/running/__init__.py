"""One run from request to result: drive loop, log records, errors by name, provenance."""
