"""The build step: a checkpoint becomes a bundle. The daemon never imports this package."""
