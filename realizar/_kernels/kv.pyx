"""The types of cached keys and values, the size of their blocks, and the number of keys of an attention split."""

from realizar._kernels.table cimport RZ_ATTEND_SPLIT, RZ_BIAS_PAD, RZ_N_KV, rz_kv_bytes, rz_kv_types

KV_TYPES = {rz_kv_types[i].name.decode(): i for i in range(RZ_N_KV)}
ATTEND_SPLIT = RZ_ATTEND_SPLIT
BIAS_PAD = RZ_BIAS_PAD


def kv_bytes(str kv_type not None, size_t head_dim):
    """Return the bytes of one head of K or V in a cache block of 16 tokens."""
    return rz_kv_bytes(KV_TYPES[kv_type], head_dim)
