#!/bin/sh
# Builds the environment that holds the peers to compare with, apart from the project's own. About 2 GB; with `detectors`
# those alone whose accuracy is measured beside ours, and that need no torch: 100 MB.
# usage: setup.sh DIR [detectors]   (PYTHON=python3.12 picks the interpreter, TORCH_INDEX=URL the index that torch comes from)
set -eu
dir=${1:?usage: setup.sh DIR [detectors]}
pip() { "$dir/bin/pip" install -q --disable-pip-version-check "$@"; }

detectors() {
  pip numpy soundfile soxr
  # TEN VAD's library wants the system's libc++.so.1 (Debian: libc++1).
  pip ten-vad==1.0.6.9 earshot==1.2.2 || echo "TEN VAD and earshot could not be installed; the accuracy harness will say so"
  # The original has to be compiled; the other is the same code as binary wheels.
  pip webrtcvad-wheels || pip webrtcvad || echo "webrtcvad could not be installed; the benchmarks will say that it is missing"
}

[ -x "$dir/bin/pip" ] || "${PYTHON:-python3}" -m venv "$dir"
if [ "${2:-}" = detectors ]; then
  detectors
  exit
fi
if [ -n "${TORCH_INDEX:-}" ]; then pip --no-deps --index-url "$TORCH_INDEX" torch==2.13.0; fi
pip torch==2.13.0
pip funasr==1.4.16 funasr-onnx==0.4.3 silero-vad==6.2.3 onnxruntime soundfile soxr kaldi-native-fbank
pip fastapi uvicorn uvloop httptools python-multipart
# Its pins would take a torch of their own; what it needs of them is here, or light.
pip --no-deps fireredvad==0.0.2 kaldiio textgrid
# FunASR imports torchaudio, whose wheel wants the CUDA libraries of its own torch. Only its plain Python is used here,
# so it comes without dependencies and its native part is put aside.
pip --no-deps torchaudio
for lib in "$dir"/lib/python3*/site-packages/torchaudio/lib; do
  [ -d "$lib" ] || continue
  mkdir -p "$lib.aside"
  find "$lib" -mindepth 1 -maxdepth 1 -exec mv -f {} "$lib.aside"/ \;
done
detectors
"$dir/bin/python" -c 'import funasr, funasr_onnx, silero_vad; print("the peers are ready")'
