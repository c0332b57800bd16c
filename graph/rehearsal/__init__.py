"""Decisions that are tried in the twin before they are taken: plans of an epoch, and routes and deployments of a slot.

A draft that is worse there than the rule's own is overruled, and counted so.
It may play the twin as often as the slot's time allows; it never touches the world.
"""
