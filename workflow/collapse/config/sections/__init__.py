"""The config's sections; a folder for each slot, in it a module for each kind."""
