"""SentencePiece BPE (tokenizer.ggml.model = llama) on the `sentencepiece` package, or without it on `tokenizers`."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer import sentencepiece_proto as proto
from realizar.tokenizer.bpe import encoding
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, TokenType, Vocabulary, flag, scores


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata: those of SentencePiece."""
    space_prefix = flag(metadata, "tokenizer.ggml.add_space_prefix", True)
    return Rules(bos_id=1, eos_id=2, add_bos=True, space_prefix=space_prefix, has_unknown=True)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids."""
    if not proto.is_installed():
        return _merging_encoder(metadata, vocabulary)
    tokens, types = vocabulary.tokens, _piece_types(vocabulary)
    try:
        # SentencePiece rejects pieces with an empty text.
        pieces = [
            proto.piece(text.encode() or b"[EMPTY_%d]" % i, score, kind)
            for i, (text, score, kind) in enumerate(zip(tokens, scores(metadata, len(tokens)), types, strict=True))
        ]
    except OverflowError as error:
        raise TokenizerError(
            f"tokenizer.ggml.scores cannot be used as a SentencePiece model: {short_repr(str(error))}"
        ) from error
    has_bytes = types.count(TokenType.BYTE) == 256
    # TrainerSpec: model_type = 3, byte_fallback = 35, unk_id = 40
    trainer = proto.number(3, proto.BPE) + proto.number(35, has_bytes)
    trainer += proto.number(40, types.index(TokenType.UNKNOWN))
    # NormalizerSpec: add_dummy_prefix = 3 (added by Tokenizer.encode), remove_extra_whitespaces = 4
    normalizer = proto.number(3, 0) + proto.number(4, 0)
    processor = proto.processor(b"".join(pieces), trainer, normalizer, "tokenizer.ggml.tokens")
    encode: Callable[[str], list[int]] = processor.EncodeAsIds
    return encode


def _merging_encoder(metadata: Metadata, vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Build the encoder with `tokenizers`, whose merges are the pairs of tokens that make a token, by its score.

    SentencePiece merges the pair whose token has the highest score, so the ids are the same for the vocabularies that
    it trains: their scores are distinct, and each token consists of two others. Elsewhere two things may differ: which
    of several tokens with equal scores comes first, and tokens of characters that are no tokens themselves.
    """
    from tokenizers import Tokenizer, models, normalizers

    types, every = _piece_types(vocabulary), scores(metadata, len(vocabulary.tokens))
    usable = {text: i for text, i in vocabulary.ids.items() if text and types[i] in (TokenType.NORMAL, TokenType.BYTE)}
    words = sorted((i for i in usable.values() if types[i] == TokenType.NORMAL), key=lambda i: (-every[i], i))
    pairs = (
        (text[:cut], text[cut:]) for text in map(vocabulary.tokens.__getitem__, words) for cut in range(1, len(text))
    )
    merges = [pair for pair in pairs if pair[0] in usable and pair[1] in usable]
    unknown = vocabulary.tokens[types.index(TokenType.UNKNOWN)] or "<unk>"
    usable[unknown] = types.index(TokenType.UNKNOWN)
    options = {"byte_fallback": types.count(TokenType.BYTE) == 256, "unk_token": unknown, "fuse_unk": True}
    try:
        tokenizer = Tokenizer(models.BPE(usable, merges, **options))
    except Exception as error:  # `tokenizers` raises bare Exception
        says = short_repr(str(error))
        raise TokenizerError(f"tokenizer.ggml.tokens cannot be used as a BPE vocabulary: {says}") from error
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return encoding(tokenizer)


def _piece_types(vocabulary: Vocabulary) -> bytes:
    """Return the types with exactly one UNKNOWN, as SentencePiece requires; others become CONTROL."""
    types = bytearray(vocabulary.types).replace(bytes([TokenType.UNDEFINED]), bytes([TokenType.UNUSED]))
    first = max(types.find(TokenType.UNKNOWN), 0)
    unknown = first if vocabulary.unknown_id is None else vocabulary.unknown_id
    types = types.replace(bytes([TokenType.UNKNOWN]), bytes([TokenType.CONTROL]))
    types[unknown] = TokenType.UNKNOWN
    return bytes(types)
