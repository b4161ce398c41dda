"""The folder of this file is on the path of its tests, so that they share `lakes`."""
