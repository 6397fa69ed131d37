#!/bin/sh
# experiments/gpu_train.sh PRESET [OPTIONS]: trains PRESET on one GPU into $OUT (default: runs/PRESET), from $DATA.
# Where the compiler or graphs fail, it begins again without them.
set -u
preset=$1
shift
here=$(dirname "$0")
out=${OUT:-runs/$preset}
data=${DATA:-wide.pack}
python3 "$here/gpu_train.py" "$preset" --data "$data" --out "$out" "$@" && exit 0
echo "graphs or compilation failed; trying without the compiler"
python3 "$here/gpu_train.py" "$preset" --data "$data" --out "$out" --no-compile "$@" && exit 0
echo "graphs failed; taking plain steps"
exec python3 "$here/gpu_train.py" "$preset" --data "$data" --out "$out" --plain "$@"
