"""The page: whole, without anything from outside, whatever the run folders hold."""

import html.parser
import json
import os
import types

import numpy as np
import pytest
from PIL import Image

import deltavae_tf
from deltavae_tf import errors
from deltavae_tf.distributions import ar1
from experiments import sets
from experiments.page import charts, folder, markup, write
from experiments.runs import finish, latents

VOID = ("meta", "img")
NASTY = "<script>alert('x')</script>&\"\x00\u202e\ud800 $\\frac{1}$"


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Charts of few pixels are drawn sooner."""
    monkeypatch.setitem(charts.plt.rcParams, "savefig.dpi", 30)


class Parsed(html.parser.HTMLParser):
    """Elements of a page; an error if they are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def numbers(rate):
    return {
        "distortion_nats": 100.0, "rate_nats": rate, "rate_aux_nats": rate / 2,
        "committed_rate_nats": 3.0, "rate_above_delta_nats": rate - 3.0,
        "nelbo_bpd": 2.0, "nelbo_aux_bpd": 1.9, "rate_bpd": 0.1, "rate_aux_bpd": 0.05,
        "information_frontier_nats": 1.5,
    }  # fmt: skip


def record(rate, hparams):
    about = {"name": "digits/test", "note": "a note", "num_examples": 297}
    return {
        "schema": 1, "experiment": "digits", "step": 40, "random_seed": 0,
        "hparams": hparams, "model": {"parameters": 7297},
        "data": {"problem": "digits", "kind": "images", "held_out": about,
                 "training": None},
        "weights": {"average": {"held_out": numbers(rate), "training": {}}},
    }  # fmt: skip


def run(path, whole=True, rate=4.0, experiment="digits", **changes):
    """A run folder made by hand; not `whole`: with hparams.json alone."""
    hparams = {**sets.hparams("digits_tiny").to_dict(), "train_steps": 40, **changes}
    samples = path / "samples"
    samples.mkdir(parents=True)

    def put(name, content):
        (path / name).write_text(json.dumps(content))

    put("hparams.json", {"experiment": experiment, "hparams": hparams})
    if not whole:
        return path
    put("versions.json", {
        "hardware": "a toaster", "python": "3.11", "git_commit": "c0ffee",
        "command": ["experiments/digits.py", "--output_dir=a b"],
    })  # fmt: skip
    rows = [
        {"step": step, "steps_per_second": 2.0, "lr": 0.1, "grad_norm": 1.0,
         **numbers(rate), **{f"eval_ema_{k}": v for k, v in numbers(rate).items()}}
        for step in (10, 20, 30, 40)
    ]  # fmt: skip
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    put("evaluation.json", record(rate, hparams))
    put("latents.json", {
        "schema": 1, "step": 40, "weights": "average", "data": "digits/test",
        "kind": "images", "num_examples": 200, "neighbors": None,
        "rate_nats": [[1.0, 0.5], [2.0, 0.5]],
        "committed_rate_nats": [[1.0, 0.5], [1.0, 0.5]],
        "same_class": {"latents": 0.77, "pixels": 0.94, "chance": 0.1},
    })  # fmt: skip
    for name in ("step", "reconstructions", "neighbors"):
        for step, shade in ((30, 0), (40, 255)):
            picture = Image.new("RGB", (4, 4), (shade, shade, shade))
            picture.save(samples / f"{name}-{step:08d}.png")
    return path


def page_of(*paths, **kwargs):
    with open(write.write([str(p) for p in paths], **kwargs), encoding="utf-8") as file:
        return Parsed(file.read())


def test_a_whole_run(tmp_path):
    page = page_of(run(tmp_path / "r"))
    assert (tmp_path / "r" / "report.html").stat().st_size < 1_000_000
    assert "latents carry 2.2 bits" in page.text  # The frontier: 1.5 nats.
    assert "step 40 of 40" in page.text and "digits/test (a note)" in page.text
    assert "77% by latents, 94% by pixels, 10% by chance" in page.text
    assert "20 seconds" in page.text and "7,297" in page.text
    assert "a toaster" in page.text and "c0ffee" in page.text
    assert "python -m experiments.digits '--output_dir=a b'" in page.text
    assert "Not there" not in page.text
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 6 + 3 + 3  # Curves, rates, pictures.


def test_nothing_is_loaded_and_nothing_runs(tmp_path):
    page = page_of(run(tmp_path / "r"))
    assert not {"script", "link", "iframe", "a", "svg"} & set(page.tags)
    policy = next(v for _, v in page.attributes if v.startswith("default-src"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for name, value in page.attributes:
        assert not name.startswith("on") and "://" not in value
        assert name != "src" or value.startswith("data:image/png;base64,")
    assert "url(" not in write._STYLE and "@import" not in write._STYLE


def test_the_same_folder_gives_the_same_page(tmp_path):
    path = run(tmp_path / "r")
    contents = []
    for _ in range(2):
        write.write([str(path)])
        contents.append((path / "report.html").read_bytes())
    assert contents[0] == contents[1]


def test_the_newest_picture_is_shown(tmp_path):
    page = page_of(run(tmp_path / "r"))
    newest = (tmp_path / "r" / "samples" / "step-00000040.png").read_bytes()
    assert str(markup.image(newest, "x")).partition("src=")[2][1:-2] in dict(
        (value, name) for name, value in page.attributes
    )


def test_runs_side_by_side(tmp_path):
    one = run(tmp_path / "one", learning_rate=0.003)
    other = run(tmp_path / "other", rate=9.0, learning_rate=0.02)
    path = tmp_path / "new" / "both.html"
    page = page_of(one, other, html_path=str(path))
    assert not (one / "report.html").exists()
    marked = [v for n, v in page.attributes if n == "class" and v == "differs"]
    assert len(marked) == 1
    assert "\N{NOT EQUAL TO} learning_rate 0.003 0.02" in page.text
    assert "A: averaged weights B: averaged weights" in page.text
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 6 + 2 * (3 + 3)


def test_a_folder_of_runs_shows_those_inside(tmp_path):
    demo = tmp_path / "demo"
    for name in ("vae", "alone", "delta"):
        run(demo / name, experiment=f"of_{name}")
    (demo / "results.json").write_text("[]")
    (demo / "empty").mkdir()
    page = page_of(demo)  # It is written beside them.
    assert (demo / "report.html").exists() and not (demo / "vae/report.html").exists()
    places = [page.text.index(f"of_{name}") for name in ("alone", "delta", "vae")]
    assert places == sorted(places) and "Not there" not in page.text
    both = page_of(demo, run(tmp_path / "other", experiment="of_other"))
    assert "of_vae" in both.text and "of_other" in both.text
    for number in range(charts.MOST_RUNS):
        run(demo / f"seed{number}", whole=False)
    with pytest.raises(errors.UserError, match="Received: 9 alone, delta, seed0, "):
        write.write([str(demo)])


def test_a_killed_run_says_what_is_missing_and_what_makes_it(tmp_path):
    path = run(tmp_path / "it's", whole=False)
    page = page_of(path)
    assert "No verdict: the run is not evaluated." in page.text
    quoted = f"'{tmp_path}/it'\"'\"'s'"
    command = f"python -m experiments.evaluate --output_dir={quoted} --unfinished"
    for name in ("evaluation.json", "latents.json"):
        assert f"{name} is not there. This makes it: {command}" in page.text
    assert "img" not in page.tags
    rows = {"step": 10, **{f"eval_{k}": v for k, v in numbers(4.0).items()}}
    (path / "metrics.jsonl").write_text(json.dumps(rows) + '\n{"step": 2')
    page = page_of(path)
    assert "During training: latents carry 2.2 bits" in page.text
    assert page.tags.count("img") >= 3


def test_hostile_text_stays_text(tmp_path):
    path = run(tmp_path / "<b>r&", experiment=NASTY, **{NASTY: NASTY})
    for name, place in (
        ("latents.json", ("data", "step", "num_examples", "weights")),
        ("versions.json", ("hardware", "python", "git_commit")),
    ):
        content = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(content | dict.fromkeys(place, NASTY)))
    content = json.loads((path / "evaluation.json").read_text())
    content["data"]["held_out"] |= {"name": NASTY, "note": NASTY}
    content["weights"]["average"]["held_out"][NASTY] = 1.0
    (path / "evaluation.json").write_text(json.dumps(content))
    page = page_of(path)
    assert not {"script", "b"} & set(page.tags)
    assert page.text.count("<script>alert('x')</script>") >= 8
    assert "\x00" not in page.text and "\u202e" not in page.text
    other = run(tmp_path / "text", whole=False)
    row = {"step": 5, "nelbo_per_token": 1.0}
    (other / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (other / "samples" / "step-00000005.txt").write_text("<script>\u2028\n" * 99)
    pairs = [{"original": NASTY, "reconstruction": [NASTY]}]
    file = other / "samples" / "reconstructions-00000005.json"
    file.write_text(json.dumps(pairs))
    page = page_of(other)
    assert "script" not in page.tags and page.text.count("<script> ") == 16


def test_hostile_numbers_are_left_out(tmp_path):
    path = run(tmp_path / "r")
    rows = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    values = ["nan", [1], True, None, 1e308, -1e308, 10**400, {"a": 1}, 0]
    for i, value in enumerate(values):
        rows.append({"step": 50 + i, **dict.fromkeys(rows[0].keys() - {"step"}, value)})
    rows.append({"step": 10**400})
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (path / "metrics.jsonl").write_text(text)
    page = page_of(path)
    assert page.tags.count("img") == 12
    assert "not known" in page.text  # How long it took.
    assert folder.read(str(path)).series("lr")[1] == [0.1] * 4 + [0]


def test_damage_is_told_and_the_rest_is_shown(tmp_path):
    damages = [
        {
            "evaluation.json": "{",
            "latents.json": '{"schema": 1, "kind": "text", "rate_nats": [[1], [1, 2]]}',
            "metrics.jsonl": "x\n",
        },
        {
            "evaluation.json": "[]",
            "latents.json": '{"schema": 2}',
            "versions.json": "[1]",
            "samples/step-00000040.png": "no picture",
        },
    ]
    for number, damage in enumerate(damages):
        path = run(tmp_path / str(number))
        for name, content in damage.items():
            (path / name).write_text(content)
        page = page_of(path)
        told = page.text.partition("Not there")[2].partition("Settings")[0]
        assert all(name in told for name in damage)
        assert page.tags.count("img") >= 2


def test_what_cannot_be_a_page_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        write.write([str(tmp_path)])
    most = charts.MOST_RUNS
    with pytest.raises(errors.UserError, match=f"1 to {most} runs: .*Received: 0"):
        write.write([])
    with pytest.raises(errors.UserError, match=f"Received: {most + 1}"):
        write.write(["x"] * (most + 1))


def test_rates_of_rows_and_channels_add_up():
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(5, 4, 2)).astype(np.float32)
    scale = rng.uniform(0.1, 1, size=(5, 4, 2)).astype(np.float32)
    prior = ar1.AR1([0.3, 0.9], 4)
    model = types.SimpleNamespace(prior=prior, encoder=object())
    rate, least = latents.rates_of(model, loc, scale, np.ones((5, 4), np.int32))
    expected = np.mean(prior.kl_of_channels(loc, scale), axis=0)
    np.testing.assert_allclose(rate.sum(axis=0), expected, rtol=1e-5)
    each = [ar1.committed_rate([a], 4) for a in (0.3, 0.9)]
    np.testing.assert_allclose(least.sum(axis=0), each, rtol=1e-5)
    assert (rate >= least - 1e-6).all()


def test_a_row_that_some_have_is_a_mean_over_those():
    loc = np.zeros((2, 3, 1), np.float32)
    loc[0, 2] = 9.0  # Not there: the first has two tokens.
    loc[1, 0] = 2.0
    model = types.SimpleNamespace(prior=deltavae_tf.SegmentedAR1([0.0]), encoder=None)
    segments = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    rate, _ = latents.rates_of(model, loc, np.ones_like(loc), segments)
    np.testing.assert_allclose(rate[:, 0], [1.0, 0.0, 0.0], atol=1e-6)
    model.prior = object()
    assert latents.rates_of(model, loc, np.ones_like(loc), segments) is None


def test_an_encoder_that_commits_by_itself():
    encoder = types.SimpleNamespace(
        committed_rate=lambda segments: 0.5 * 2 * np.sum(segments > 0, axis=1)
    )
    prior = deltavae_tf.SegmentedAR1([0.0, 0.0])
    model = types.SimpleNamespace(prior=prior, encoder=encoder)
    zero = np.zeros((2, 3, 2), np.float32)
    segments = np.array([[1, 1, 0], [1, 1, 0]], np.int32)
    _, least = latents.rates_of(model, zero, zero + 1, segments)
    np.testing.assert_allclose(least, [[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]])


def test_nearest_and_summaries():
    points = np.array([[0.0], [1.0], [3.0], [10.0]])
    found = latents.nearest(points, 2)
    np.testing.assert_array_equal(found, [[1, 2], [0, 2], [1, 0], [2, 1]])
    assert latents.nearest(points[:1], 2).shape == (1, 0)
    loc = np.array([[[2.0], [4.0], [9.0]], [[1.0], [1.0], [1.0]]])
    segments = np.array([[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(latents.summaries(loc, segments), [[3.0], [1.0]])
    assert latents.summaries(loc, segments * 0 + 1).shape == (2, 3)


def test_a_failure_is_a_warning_and_the_page_is_there(tmp_path, caplog):
    path = run(tmp_path / "r", whole=False)
    held = types.SimpleNamespace(path=str(path), samples=str(path / "samples"))
    model = types.SimpleNamespace(encoder=object())
    data = types.SimpleNamespace()  # Has nothing that is asked of it.
    finish.draw(held, model, data, 3, "raw", None)
    messages = [record.getMessage() for record in caplog.records]
    assert any("No samples: AttributeError" in line for line in messages)
    assert any("No latents.json: AttributeError" in line for line in messages)
    assert os.path.exists(path / "report.html")
    (path / "hparams.json").unlink()
    finish.measure(held, model, data, 3, "raw")
    assert "No report: FileNotFoundError" in caplog.records[-1].getMessage()
