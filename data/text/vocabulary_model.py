"""Looks through a vocabulary's bytes before code that trusts them gets them.

A SentencePiece model carries more than subwords: a compiled table for normalization,
which native code walks without checks of its own, and settings that change what is
encoded. `vocabulary.build` makes one kind only, and only that kind passes.
"""

import math

from google.protobuf import message

from data.reading import errors

LARGEST = 1 << 24  # Bytes; 32,768 subwords have less than a megabyte.
_LONGEST_PIECE = 1 << 10  # Characters; the trainer's longest has 16.


def check(model, name, specials):
    """Raises a `DataError` unless the bytes are a model as `vocabulary.build` makes it.

    Args:
      model: bytes.
      name: str, where it is from, for messages.
      specials: int, how many ids come before the 256 bytes.
    """
    # Slow to import, and images never need it.
    from sentencepiece import sentencepiece_model_pb2

    if len(model) > LARGEST:
        raise errors.DataError(
            f"{name} is larger than a vocabulary may be, {LARGEST:,} bytes"
        )
    parsed = sentencepiece_model_pb2.ModelProto()
    try:
        parsed.ParseFromString(model)
        reason = _another_kind(parsed, specials) or _bad_piece(parsed, specials)
    # Some of protobuf's versions find broken characters when a string is asked for.
    except (message.DecodeError, UnicodeDecodeError) as error:
        raise errors.DataError(
            f"{name} is damaged or no vocabulary. Received: {errors.one_line(error)}"
        ) from error
    if reason:
        raise errors.DataError(
            f"{name} is another kind of vocabulary than this program builds. "
            f"Received: {reason}"
        )


def _another_kind(parsed, specials):
    """What in the settings differs from what `vocabulary.build` asks for, or None."""
    trainer, normalizer = parsed.trainer_spec, parsed.normalizer_spec
    if trainer.model_type != trainer.UNIGRAM or not trainer.byte_fallback:
        return "no unigram model with bytes"
    if normalizer.precompiled_charsmap or parsed.denormalizer_spec.precompiled_charsmap:
        return "a table for normalization"
    if normalizer.remove_extra_whitespaces or not normalizer.escape_whitespaces:
        return "another treatment of spaces"
    if trainer.treat_whitespace_as_suffix or not normalizer.add_dummy_prefix:
        return "another treatment of spaces"
    if len(parsed.pieces) != trainer.vocab_size or trainer.vocab_size < specials + 256:
        return f"{len(parsed.pieces)} pieces"
    return None


def _bad_piece(parsed, specials):
    """What is wrong with the pieces, or None."""
    kinds = parsed.SentencePiece
    seen = set()
    for i, piece in enumerate(parsed.pieces):
        byte = i - specials
        if 0 <= byte < 256:
            good = piece.type == kinds.BYTE and piece.piece == f"<0x{byte:02X}>"
        elif byte < 0:
            good = piece.type in (kinds.CONTROL, kinds.UNKNOWN)
        else:
            good = piece.type == kinds.NORMAL
        # Others give broken characters as bytes.
        good = good and isinstance(piece.piece, str) and math.isfinite(piece.score)
        good = good and 0 < len(piece.piece) <= _LONGEST_PIECE
        if not good or piece.piece in seen:
            return f"piece {i} is {piece.piece[:50]!r} of type {piece.type}"
        seen.add(piece.piece)
    return None
