"""From a model in Hugging Face's file formats to a program for the machine, and the check of its results (spec §9)."""
