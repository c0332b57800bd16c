"""How a decision is made: propose, check, repair, fall back, in one graph for every policy family."""
