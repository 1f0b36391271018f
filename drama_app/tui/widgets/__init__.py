"""The parts of the screens: they show what they are given and say what was asked."""
