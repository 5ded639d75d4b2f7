"""One plain line about a record: do the latents say anything of the data?"""

from deltavae_tf import units
from deltavae_tf.evaluation import record as records
from deltavae_tf.evaluation.metrics.likelihood import TENSOR2TENSOR_TOKENS_PER_WORD

_LEAST_BITS = 0.5  # An example: less than half of one yes or no.
_ROOM_BITS = 1.0  # Nearer to its limit an estimate of I(x; z) says only "no less".


def line(record: dict) -> str:
    """The verdict on the best weights, for a terminal.

    What latents carry is I(x; z) where it was measured and is not near its limit log N;
    else the lowest of what it cannot exceed: the rate under either prior, and the
    information frontier. Of images it is told in bits
    per image, of sentences in nats per token. Below half a bit an example the model is
    said to have collapsed.

    Args:
      record: dict, as `record.build` or `record.read` give it.
    """
    found = records.numbers(record)
    if "rate_aux_nats" not in found:
        return "No verdict: no rate was measured."
    if found["rate_aux_nats"] == found.get("rate_nats") == 0.0:
        return f"decoder alone, without latents: {_cost(found)} of distortion"
    carried, source = _least_bound(found)
    told = [f"I(x; z) {_limited(found)}"] if "mutual_information_nats" in found else []
    if told:
        estimate = units.bits(found["mutual_information_nats"])
        limit = units.bits(found["mutual_information_limit_nats"])
        if estimate < min(carried, limit - _ROOM_BITS):
            told = [f"{source} {carried:.2f} bits"]
            carried, source = max(estimate, 0.0), f"I(x; z), {_limit(found)}"
    amount = f"{_plain(carried)} bits"
    if record["data"]["kind"] == "text":
        per_token = carried / units.bits(found["rate_aux_nats"])
        per_token *= found["rate_aux_per_token"]
        amount = f"{per_token:.4f} nats per token ({amount} a sentence)"
    if "information_frontier_nats" in found:
        most = units.bits(found["information_frontier_nats"])
        if most > carried:
            amount += f" of at most {_plain(most)} at this rate"
    if "gain" in found:
        told.append(f"each bit of it saves {found['gain']:.2f} bits of distortion")
    start = "collapsed: latents carry" if carried < _LEAST_BITS else "latents carry"
    return f"{start} {amount} (by the {'; '.join([source, *told])})"


def _least_bound(found):
    """(bits, name) of the lowest upper bound on I(x; z).

    Any prior's rate is one, and so is the frontier: an auxiliary prior that is not
    fitted yet says less than these.
    """
    bounds = {
        "auxiliary rate": found["rate_aux_nats"],
        "rate, which the auxiliary prior does not lower yet": found.get("rate_nats"),
        "information frontier, which is below the auxiliary rate": found.get(
            "information_frontier_nats"
        ),
    }
    known = {name: nats for name, nats in bounds.items() if nats is not None}
    name = min(known, key=known.get)
    return units.bits(known[name]), name


def remarks(record: dict) -> list[str]:
    """What a reader of the numbers needs beside them: how long a token is."""
    found = records.numbers(record)
    if record["data"]["kind"] != "text":
        return []
    return [
        f"{found['num_tokens']:,} tokens, {found['num_words']:,} words, "
        f"{found['num_characters']:,} characters, each sentence's end counted: "
        f"{found['tokens_per_word']:.3f} tokens per word "
        f"(Tensor2Tensor's lm1b32k: {TENSOR2TENSOR_TOKENS_PER_WORD})."
    ]


def _cost(found):
    if "distortion_per_token" in found:
        return f"{found['distortion_per_token']:.3f} nats per token"
    bits = f"{units.bits(found['distortion_nats']):.1f} bits"
    return (
        f"{found['nelbo_bpd']:.3f} bits/dim, {bits}" if "nelbo_bpd" in found else bits
    )


def _limit(found):
    limit = units.bits(found["mutual_information_limit_nats"])
    return f"which cannot exceed {limit:.2f} bits, log N"


def _limited(found):
    return f"{units.bits(found['mutual_information_nats']):.2f} bits, {_limit(found)}"


def _plain(bits):
    """Two digits below 1, one decimal below 100."""
    if bits < 1:
        return f"{bits:.2g}"
    return f"{bits:.1f}" if bits < 100 else f"{bits:,.0f}"
