"""The stages, one per subcommand: read artifacts, call the science, write artifacts."""
