KV_TYPES: dict[str, int]
ATTEND_SPLIT: int
BIAS_PAD: int

def kv_bytes(kv_type: str, head_dim: int) -> int: ...
