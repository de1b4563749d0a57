"""Board files and DRAM descriptions: data, their schema and their loaders."""
