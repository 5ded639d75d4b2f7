#!/usr/bin/env bash
# A session on the lent GPU machine; docs/gpu.md says which calls to make, in which order.
#
#   here:   prepare DATA_DIR   .gpu/1 to .gpu/3: wheels and CIFAR-10, each under 64 MiB
#           join SET           a checkpoint out of the pieces in .gpu/pieces
#   there:  receive N          takes what was carried in .gpu/N (N = 4: pieces of `join`)
#           measure            rates of the card, steps, sampling -> $OUT/measured.jsonl
#           train SET STEPS SECONDS   goes on with a run, as long as it may
#           evaluate SET STEPS SECONDS   evaluates its newest checkpoint on all images
#           send SET N         the N-th 60 MiB of its newest checkpoint -> $OUT
set -euo pipefail
cd "$(dirname "$0")/.."
mode=$1
STATE=${GPU_STATE:-/tmp/gpu}
PYTHON=${PYTHON:-python3}
PROGRAM=${PROGRAM:-experiments.cifar10}
SETS=${SETS:-cifar10_ablation table6_l8_low}
DTYPE=${DTYPE:-mixed_bfloat16}
BATCHES=${BATCHES:-64 256}
REMATERIALIZE=${REMATERIALIZE:-false true}
MEASURE=${MEASURE:---steps=20 --sample=64,256}
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1
export PYTHONPATH="$STATE/site${PYTHONPATH:+:$PYTHONPATH}"
export JAX_COMPILATION_CACHE_DIR="$STATE/compiled"
mkdir -p "$STATE"

case $mode in
prepare)
  rm -rf .gpu && mkdir -p .gpu/1 .gpu/2 .gpu/3
  platforms=()
  for p in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${p}_x86_64")
  done
  "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version "${PYTHON_VERSION:-3.12}" \
    --implementation cp "${platforms[@]}" -d .gpu/1 keras==3.15.1 \
    tfp-nightly==0.26.0.dev20261027 optree dm-tree namex decorator gast
  cp "$2"/data_batch_[12].bin.xz .gpu/1
  cp "$2"/data_batch_[34].bin.xz .gpu/2
  cp "$2"/data_batch_5.bin.xz "$2"/test_batch.bin.xz .gpu/3
  du -sm .gpu/*
  ;;
receive)
  mkdir -p "$STATE/data" "$STATE/pieces"
  cp ".gpu/$2"/*.xz "$STATE/data" 2>/dev/null || true
  cp ".gpu/$2"/*.piece "$STATE/pieces" 2>/dev/null || true
  if ls ".gpu/$2"/*.whl >/dev/null 2>&1; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
      --upgrade --target "$STATE/site" ".gpu/$2"/*.whl
  fi
  ls -l "$STATE"/*
  ;;
measure)
  for set in $SETS; do
    for size in $BATCHES; do
      for again in $REMATERIALIZE; do
        fields="dtype=$DTYPE,batch_size=$size,rematerialize=$again"
        "$PYTHON" -m benchmarks.gpu --hparams_set="$set" $MEASURE --hparams="$fields" |
          tee -a "$OUT/measured.jsonl" ||
          echo "{\"failed\": \"$set\", \"hparams\": \"$fields\"}" |
          tee -a "$OUT/measured.jsonl"
      done
    done
  done
  ;;
train | evaluate)
  run=$STATE/runs/$2
  # SIGTERM saves and ends with status 0; the same call goes on from there.
  timeout --preserve-status -s TERM "$4" "$PYTHON" -m "$PROGRAM" --hparams_set="$2" \
    --hparams="dtype=$DTYPE${FIELDS:+,$FIELDS}" --data_dir="$STATE/data" --output_dir="$run" \
    --schedule="$mode" --train_steps="$3" --iterations_per_loop=100 --eval_use_test_set --keep_checkpoint_max=1 \
    --local_eval_frequency=${EVAL_EVERY:-2000} 2>&1 | tee "$OUT/$2-$mode.log"
  cp "$run"/*.json* "$OUT"
  ;;
send)
  newest=$(ls "$STATE/runs/$2"/checkpoints/step-*.npz | tail -n 1)
  rm -rf "$STATE/split" && mkdir "$STATE/split"
  split -b "${PIECE:-15M}" -d -a 3 --additional-suffix=.piece "$newest" \
    "$STATE/split/$(basename "$newest")."
  ls "$STATE/split" | sed -n "$((4 * $3 - 3)),$((4 * $3))p" |
    while read -r name; do cp "$STATE/split/$name" "$OUT"; done
  ls -l "$OUT" "$STATE/split"
  sha256sum "$newest"
  ;;
join)
  pieces=${PIECES:-.gpu/pieces}
  name=$(basename "$(ls "$pieces"/*.piece | head -n 1)" .000.piece)
  folder=$STATE/runs/$2/checkpoints
  mkdir -p "$folder"
  cat "$pieces/$name".*.piece >"$folder/$name"
  sha256sum "$folder/$name"
  ;;
*)
  echo "unknown mode $mode" >&2
  exit 1
  ;;
esac
