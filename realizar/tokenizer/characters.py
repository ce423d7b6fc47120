"""BPE of characters (tokenizer.ggml.model = gpt2 with a pre-tokenizer that is not byte-level), with spaces as ▁."""

from realizar.tokenizer import gemma4, gpt2

rules = gpt2.rules
token_bytes = gemma4.token_bytes
encoder = gpt2.encoder
