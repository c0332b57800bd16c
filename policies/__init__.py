"""Deciders that need no model, one file each; every one fills one of the three roles of P1."""
