"""What a run is configured with: settings files, board values laid over them, build directories, units."""
