"""Text encoder, decoder and auxiliary prior: who sees whom, packed or not, cached or
not; and the gradient of embeddings.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf import backend, noise, segments
from deltavae_tf.distributions import segmented_ar1
from deltavae_tf.layers import token_embedding
from deltavae_tf.models import (
    auxiliary_prior,
    text_decoder,
    text_encoder,
    text_vae,
    token_sampling,
)
from tests import testing

V, D = 20, 2
ALPHA = [0.2, 0.4]
SIZES = {"num_layers": 2, "width": 8, "filter_size": 16, "num_heads": 2}
PACKED = np.array([[5, 6, 7, 1, 8, 9, 1, 10, 11, 12, 13, 1, 0, 0]], np.int32)
SENTENCES = [[5, 6, 7, 1], [8, 9, 1], [10, 11, 12, 13, 1]]
L = PACKED.shape[1]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    found = text_vae.TextVAE(
        text_encoder.TextEncoder(V, D, alpha=ALPHA, **SIZES),
        text_decoder.TextDecoder(V, dropout_rate=0.3, **SIZES),
        segmented_ar1.SegmentedAR1(ALPHA),
        auxiliary_prior.LSTMPrior(6, D),
        max_length=L,
    )
    found(PACKED)
    testing.randomize(found)
    return found


def latents(rows=1, seed=3):
    return np.random.default_rng(seed).normal(size=(rows, L, D)).astype("float32")


def unpacked(length=L):
    rows = np.zeros((len(SENTENCES), length), np.int32)
    for row, sentence in zip(rows, SENTENCES, strict=True):
        row[: len(sentence)] = sentence
    return rows


def moved(before, after):
    """bool `[B, L]`, which positions differ."""
    before, after = np.asarray(before), np.asarray(after)
    return (before != after).reshape(*before.shape[:2], -1).any(-1)


def segment_of():
    return np.array(segments.segment_ids(PACKED))[0]


def allowed(relation):
    """bool `[L, L]`: out i may depend on in j, of the same sentence."""
    s, t = segment_of(), np.arange(L)
    return (s[:, None] == s) & (s > 0) & relation(t[:, None], t)


def test_encoder_sees_a_token_and_the_future_of_its_sentence(model):
    """All pairs. The last token of a sentence, its EOS, is what makes it one: moving
    it would join two, so it stays.
    """
    may = allowed(lambda i, j: j >= i)
    rows = np.repeat(PACKED, L, 0)
    for j in range(L):
        if rows[j, j] > 1:
            rows[j, j] = 15
    before = model.encoder(np.repeat(PACKED, L, 0))
    after = model.encoder(rows)
    found = moved(np.concatenate(before, -1), np.concatenate(after, -1)).T
    for j in range(L):
        if PACKED[0, j] > 1:
            np.testing.assert_array_equal(found[:, j], may[:, j], err_msg=str(j))


def test_decoder_sees_the_past_of_its_sentence_and_latents_up_to_now(model):
    ids = segments.segment_ids(np.repeat(PACKED, L, 0))
    z = np.repeat(latents(), L, 0)

    def logits(x, z):
        return model.decoder.logits(z, x, ids)

    before = logits(np.repeat(PACKED, L, 0), z)
    rows, other = np.repeat(PACKED, L, 0), z.copy()
    for j in range(L):
        rows[j, j] = 15
        other[j, j] += 1
    real = segment_of() > 0
    by_token = moved(before, logits(rows, z)).T[real][:, real]
    by_latent = moved(before, logits(np.repeat(PACKED, L, 0), other)).T[real][:, real]
    expected = allowed(lambda i, j: j < i)[real][:, real]
    np.testing.assert_array_equal(by_token, expected)
    expected = allowed(lambda i, j: j <= i)[real][:, real]
    np.testing.assert_array_equal(by_latent, expected)


def test_auxiliary_prior_sees_earlier_latents_of_its_sentence(model):
    first = segments.is_first(segments.segment_ids(np.repeat(PACKED, L, 0)))
    z = np.repeat(latents(), L, 0)
    other = z.copy()
    for j in range(L):
        other[j, j] += 1
    before = np.concatenate(model.auxiliary_prior(z, first), -1)
    after = np.concatenate(model.auxiliary_prior(other, first), -1)
    real = segment_of() > 0
    found = moved(before, after).T[real][:, real]
    np.testing.assert_array_equal(found, allowed(lambda i, j: j < i)[real][:, real])


def test_auxiliary_prior_restarts_as_it_starts(model):
    z = latents()
    every = np.array(model.auxiliary_prior(z)[0])
    flags = np.zeros((1, L), bool)
    flags[0, [0, 5]] = True
    restarted = np.array(model.auxiliary_prior(z, flags)[0])
    np.testing.assert_allclose(restarted[:, :5], every[:, :5], atol=1e-6)
    alone = np.array(model.auxiliary_prior(z[:, 5:])[0])
    np.testing.assert_allclose(restarted[:, 5:], alone, atol=1e-6)


def terms_by_sentence(model, rows, z_of):
    """[(nll, kl, auxiliary kl)] of every sentence, with z = loc + z_of's noise."""
    ids = segments.segment_ids(rows)
    posterior = model.encode(rows).distribution
    z = posterior.loc + posterior.scale * z_of
    nll = -model.decode(z, rows).distribution.log_prob(rows)
    moments = posterior.loc, posterior.scale
    kl = model.prior.kl_from_normal(*moments, ids)
    auxiliary = model.auxiliary_rates(*moments, z, ids)
    found = []
    for row, numbers in enumerate(np.array(ids)):
        for number in range(1, numbers.max() + 1):
            where = numbers == number
            found.append([np.array(x)[row, where].sum() for x in (nll, kl, auxiliary)])
    return np.array(found)


@pytest.mark.parametrize("length", [L, 5, 32])
def test_packed_and_unpacked_and_padding_are_the_same(model, length):
    """The noise of a sentence travels with it."""
    eps = latents(seed=7)
    packed = terms_by_sentence(model, PACKED, eps)
    apart, start = np.zeros((len(SENTENCES), length, D), "float32"), 0
    for row, sentence in enumerate(SENTENCES):
        apart[row, : len(sentence)] = eps[0, start : start + len(sentence)]
        start += len(sentence)
    unpacked_ = terms_by_sentence(model, unpacked(length), apart)
    np.testing.assert_allclose(packed, unpacked_, rtol=1e-5, atol=1e-5)


def test_padding_changes_no_term_of_the_model(model):
    index = np.arange(3, dtype="int32")
    results = [
        model({"tokens": unpacked(n), "index": index, "mask": np.ones(3, "float32")})
        for n in (5, 14, 40)
    ]
    for found in results[1:]:
        for name, value in found.items():
            np.testing.assert_allclose(value, results[0][name], rtol=2e-5, atol=1e-5)


def test_terms_of_a_row_are_the_sums_of_its_sentences(model):
    found = model(PACKED)
    by_sentence = model.committed_rate(segments.segment_ids(unpacked()))
    np.testing.assert_allclose(
        found["committed_rate"][0], np.sum(by_sentence), rtol=1e-6
    )
    assert float(found["rate"][0]) > float(found["committed_rate"][0]) > 0
    model.check_rate(found["rate"], found["committed_rate"])
    with pytest.raises(FloatingPointError, match="below the committed rate"):
        model.check_rate(found["committed_rate"] - 0.01, found["committed_rate"])


def test_training_starts_at_the_floor():
    keras.utils.set_random_seed(0)
    encoder = text_encoder.TextEncoder(V, D, alpha=ALPHA, **SIZES)
    loc, scale = encoder(PACKED)
    ids = segments.segment_ids(PACKED)
    prior = segmented_ar1.SegmentedAR1(ALPHA)
    rate = np.sum(prior.kl_from_normal(loc, scale, ids))
    floor = np.sum(prior.committed_rate(ids))
    assert floor <= rate < floor + 0.2 * len(SENTENCES)
    np.testing.assert_allclose(scale, prior.optimal_scale(ids), rtol=1e-5)


def test_log_prob_is_the_log_softmax_of_every_token_but_padding(model):
    x, z = unpacked(), latents(3)
    logits = model.decoder.logits(z, x, segments.segment_ids(x))
    logits = np.float64(logits)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(log_p, x[..., None], -1)[..., 0] * (x > 0)
    found = model.decode(z, x)
    np.testing.assert_allclose(found.distribution.log_prob(x), expected, atol=1e-5)
    np.testing.assert_allclose(found.log_prob(x), expected.sum(1), rtol=1e-5)


def test_flat_logits_cost_log_v_a_token(model):
    decoder = text_decoder.TextDecoder(V, **SIZES)
    decoder(latents(3), unpacked())
    decoder.embedding.table.assign(np.zeros((V, 8)))
    found = decoder(latents(3), unpacked()).log_prob(unpacked())
    expected = [-len(s) * np.log(V) for s in SENTENCES]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_step_is_call_at_every_position(model):
    """The cached logits are the parallel ones."""
    sentence = np.array([[5, 6, 7, 8, 9, 3, 2, 1], [4, 4, 5, 6, 1, 0, 0, 0]], np.int32)
    z = latents(2)[:, :8]
    parallel = model.decoder.logits(z, sentence, segments.segment_ids(sentence))
    cache = model.decoder.init_cache(2, 8)
    before = np.full(2, 13, np.int32)  # Of no influence.
    for t in range(8):
        logits, cache = model.decoder.step(z[:, t], before, t, cache)
        real = sentence[:, t] > 0
        np.testing.assert_allclose(
            np.array(logits)[real], np.array(parallel)[real, t], atol=2e-5
        )
        before = sentence[:, t]


def test_sample_is_what_the_parallel_model_draws(model):
    """The loop against a Python loop over whole forward passes."""
    z = np.array(model.sample_latents(4, seed=5))
    found = np.array(model.sample(4, seed=5))
    keys = noise.sample_keys(5, 0, 4, noise.Purpose.DATA)
    uniforms = np.array(text_decoder.uniforms_of(keys, L))
    x = np.zeros((4, L), np.int32)
    for t in range(L):
        given = np.where(x == 0, 5, x)  # What stands at t and later has no influence.
        given[:, t:] = 5
        ids = np.ones((4, L), np.int32)
        logits = np.array(model.decoder.logits(z, given, ids))[:, t].astype("float64")
        logits[:, 0] = -np.inf
        cdf = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), 1)
        cdf /= cdf[:, -1:]
        drawn = (cdf <= uniforms[:, t, None]).sum(1)
        ended = (x == 1).any(1)
        x[:, t] = np.where(ended, 0, drawn)
    np.testing.assert_array_equal(found, x)


def test_samples_do_not_depend_on_how_many_or_how_long(model):
    four = np.array(model.sample(4, seed=2))
    later = np.array(model.sample(4, seed=2, first=2))
    np.testing.assert_array_equal(later[:2], four[2:])
    short = np.array(model.sample(4, seed=2, length=6))
    np.testing.assert_array_equal(short, four[:, :6])
    assert (np.array(model.sample(4, seed=3)) != four).any()


def test_completion_keeps_what_is_given_and_nothing_else(model):
    z = latents(3)
    given = unpacked()
    kept = np.array([2, 0, 4])
    found = np.array(model.sample_data(z, 3, given=given, num_given=kept, seed=1))
    for row, count in enumerate(kept):
        np.testing.assert_array_equal(found[row, :count], given[row, :count])
    other = given.copy()
    for row, count in enumerate(kept):
        other[row, count:] = 17
    again = model.sample_data(z, 3, given=other, num_given=kept, seed=1)
    np.testing.assert_array_equal(again, found)


def test_latents_go_on_as_the_prior_does(model):
    z = np.repeat(latents(), 2000, 0)
    kept = np.full(2000, 4, np.int32)
    found = np.array(model.continue_latents(z, kept))
    np.testing.assert_array_equal(found[:, :4], z[:, :4])
    for k, alpha in enumerate(ALPHA):
        mean, deviation = found[:, 4, k].mean(), found[:, 4, k].std()
        np.testing.assert_allclose(mean, alpha * z[0, 3, k], atol=0.08)
        np.testing.assert_allclose(deviation, (1 - alpha**2) ** 0.5, atol=0.06)
        np.testing.assert_allclose(found[:, 13, k].std(), 1, atol=0.06)


def test_top_k_and_nucleus_keep_what_they_should():
    probability = np.array([[0.05, 0.1, 0.4, 0.15, 0.3]])
    logits = np.log(probability).astype("float32")

    def kept(**settings):
        return set(
            np.flatnonzero(np.array(token_sampling.keep(logits, **settings)) > -9)
        )

    assert kept(top_k=2) == {2, 4}
    assert kept(top_k=9) == kept() == {0, 1, 2, 3, 4}
    assert kept(top_p=0.01) == {2}
    assert kept(top_p=0.5) == {2, 4}
    assert kept(top_p=0.8) == {2, 3, 4}
    assert kept(top_p=0.8, top_k=2) == {2, 4}


def test_draw_has_the_right_frequencies_and_never_pads():
    logits = np.log([[0.5, 0.1, 0.2, 0.2]]).astype("float32").repeat(4000, 0)
    uniform = (np.arange(4000, dtype="float32") + 0.5) / 4000
    drawn = np.array(token_sampling.draw(logits, uniform))
    np.testing.assert_allclose(
        np.bincount(drawn, minlength=4) / 4000, [0, 0.2, 0.4, 0.4], atol=1e-3
    )
    cold = np.array(token_sampling.draw(logits, uniform, temperature=0.5))
    np.testing.assert_allclose(
        np.bincount(cold, minlength=4) / 4000, [0, 1 / 9, 4 / 9, 4 / 9], atol=1e-3
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": 0}, "`temperature` must be above 0"),
        ({"top_k": -1}, "`top_k` must be 0"),
        ({"top_p": 0.0}, r"`top_p` must be in \(0, 1\]"),
        ({"prior": "ar2"}, "`prior` must be one of"),
        ({"n": 0}, "`n` must be at least 1"),
    ],
)
def test_bad_settings_of_sampling_are_errors(model, settings, message):
    with pytest.raises(ValueError, match=message):
        model.sample(**{"n": 1, **settings})


@pytest.mark.parametrize("token", [V, -1])
def test_tokens_outside_the_vocabulary_are_errors(model, token):
    rows = unpacked()
    rows[1, 0] = token
    message = rf"in \[0, {V}\), the vocabulary. Received: \[{token}"
    for use in (
        model,
        model.encode,
        model.reconstruct,
        lambda x: model.decode(latents(3), x),
        lambda x: model.sample_data(latents(3), 3, given=x, num_given=2),
    ):
        with pytest.raises(ValueError, match=message):
            use(rows)


def train_embeddings(one_hot, steps=8):
    """The table after Adam on a toy language model with repeated tokens."""
    layer = token_embedding.TokenEmbedding(6, 4)
    rng = np.random.default_rng(0)
    layer(np.zeros((1, 1), np.int32))
    layer.table.assign(rng.normal(size=(6, 4)))
    head = keras.Variable(rng.normal(size=(4, 6)).astype("float32"))
    tokens = np.array([[2, 2, 2, 3, 5, 2]])
    optimizer = keras.optimizers.Adam(0.1)
    variables = [layer.table, head]
    optimizer.build(variables)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            if one_hot:
                embedded = ops.one_hot(tokens, 6) @ (layer.table * 4**0.5)
            else:
                embedded = layer(tokens)
            loss = ops.mean(
                keras.losses.sparse_categorical_crossentropy(
                    np.roll(tokens, -1), embedded @ head, from_logits=True
                )
            )
        # As a user's own loop would: no help from `value_and_gradients`.
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
    return np.array(layer.table)


def test_adam_trains_embeddings_as_it_does_one_hot_products():
    np.testing.assert_allclose(
        train_embeddings(False), train_embeddings(True), atol=1e-5
    )


def test_tied_softmax():
    layer = token_embedding.TokenEmbedding(6, 4)
    layer(np.zeros((1, 1), np.int32))
    features = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    expected = features @ np.array(layer.table).T
    np.testing.assert_allclose(layer.logits(features), expected, rtol=1e-5)


def test_metrics_are_ratios_of_sums(model):
    rows = unpacked()
    batch = {
        "tokens": rows,
        "index": np.arange(3, dtype="int32"),
        "mask": np.array([1, 1, 0], "float32"),
    }
    terms = {k: np.array(v)[:2].astype("float64") for k, v in model(batch).items()}
    model.compile("sgd")
    model.reset_metrics()
    logs = {k: float(v) for k, v in model.test_step(batch).items()}
    tokens = 4 + 3
    nelbo = (terms["distortion"] + terms["rate_aux"]).sum() / tokens
    np.testing.assert_allclose(logs["nelbo_aux_per_token"], nelbo, rtol=1e-5)
    rate = terms["committed_rate"].sum() / tokens
    np.testing.assert_allclose(logs["committed_rate_per_token"], rate, rtol=1e-5)
    np.testing.assert_allclose(logs["rate_nats"], terms["rate"].mean(), rtol=1e-5)


def test_latent_free_twin():
    decoder = text_decoder.TextDecoder(V, use_latents=False, **SIZES)
    twin = text_vae.TextVAE(None, decoder, None, max_length=L)
    found = twin(unpacked())
    assert not np.any(found["rate"]) and not np.any(found["committed_rate"])
    assert np.all(np.array(found["distortion"]) > 0)
    assert np.array(twin.sample(2)).shape == (2, L)
    with pytest.raises(ValueError, match="no latents"):
        twin.encode(unpacked())


def test_saved_model_file_comes_back(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    for name, value in model(PACKED).items():
        np.testing.assert_allclose(again(PACKED)[name], value, rtol=1e-5)
    assert again.max_length == L
    assert backend.name == "tensorflow"
