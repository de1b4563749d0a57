"""What every input file is read with: text, documents, checks against a schema, number formats."""
