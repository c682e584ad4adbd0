"""Plays real history on a virtual clock: the demo, the replay of a year, and the drills. A door, not a library."""
