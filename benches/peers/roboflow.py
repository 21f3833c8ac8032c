"""Roboflow's InferencePipeline with the same session as the other scripts: every frame of one recording.

    roboflow.py VIDEO MODEL

Needs an environment of its own with `inference-cpu==1.8.3`, which pins other versions of everything and takes some GB.
Prints the number of frames that the model looked at.
"""

import os
import sys

os.environ.setdefault("ONNXRUNTIME_EXECUTION_PROVIDERS", "[CPUExecutionProvider]")
os.environ.setdefault("TELEMETRY_OPT_OUT", "True")

from inference import InferencePipeline  # noqa: E402
from opencv_ort import input_size, look, prepare, session  # noqa: E402


def main(video: str, model: str) -> int:
    net = session(model, tuned=True)
    height, width = input_size(net)
    count = 0

    def looked_at(frames):
        return [look(net, prepare(frame.image, height, width)) for frame in frames]

    def taken(answers, _frames):
        nonlocal count
        count += len(answers) if isinstance(answers, list) else 1

    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=video, on_video_frame=looked_at, on_prediction=taken
    )
    pipeline.start(use_main_thread=True)
    pipeline.join()
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(main(sys.argv[1], sys.argv[2]))
