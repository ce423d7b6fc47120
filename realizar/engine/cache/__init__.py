"""The KV cache and its sequences: blocks, states, what is computed of each sequence, and the prefix cache.

Read in this order: ``block_pool`` (reference counts and keys of blocks), ``kv_cache`` (all pools and state slots of a
storage), ``content`` (what rows hold besides tokens), ``history`` (the rows of a sequence), ``sequence`` (where in the
cache they are), ``chunk`` (what a step computes of them), ``saved`` and ``file`` (blocks in host memory, and in a
file).
"""
