"""Speculation: tokens that a text may go on with, guessed cheaply and verified in one step.

Read in this order: ``guess`` (what a guess is, and how often such guesses are right), ``step_cost`` (what more rows in
a step cost), ``speculator`` (how many of the guesses to try), ``lookup`` (guesses from the text itself),
``draft_model`` (guesses of a smaller model), ``choice`` (what an engine gets). docs/speculation.md says how to use it.
"""
