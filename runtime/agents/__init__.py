"""Who fills a role: agents, rules, or any mix of both, from the words of the command line to the fillings of a run.

The room also holds a real model on this machine, and the fixed cases on which models are compared.
It may start the model's process and read a model file; keys stay in the environment.
"""
