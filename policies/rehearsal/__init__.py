"""Rehearsal: forecast the traffic, search for a placement, try it in the twin, adopt what is predicted to be best."""
