"""The script that everybody writes: OpenCV reads, ONNX Runtime looks. Every frame of one recording.

    opencv_ort.py serial   VIDEO MODEL   as the libraries come: read, prepare, infer, one after the other
    opencv_ort.py threaded VIDEO MODEL   tuned: one reader, two lookers, one thread a session, no spinning
    opencv_ort.py floor    VIDEO MODEL   the bare session, on one prepared input, as often as the video has frames

Prints the number of frames that the model looked at.
"""

import queue
import sys
import threading

import cv2
import numpy as np
import onnxruntime


def session(model: str, tuned: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if tuned:
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepare(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales into the top left corner, pads, and turns rows of pixels into planes: BGR, 0 to 255."""
    scale = min(height / frame.shape[0], width / frame.shape[1])
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    canvas = np.full((height, width, 3), 114, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32)


def look(net: onnxruntime.InferenceSession, tensor: np.ndarray) -> int:
    """Returns how many boxes are above 0.3 before suppression, so that the answer is read and not thrown away."""
    answer = net.run(None, {net.get_inputs()[0].name: tensor})[0]
    return int((answer[..., 4:5] * answer[..., 5:] > 0.3).sum())


def input_size(net: onnxruntime.InferenceSession) -> tuple[int, int]:
    height, width = net.get_inputs()[0].shape[2:]
    return int(height), int(width)


def serial(video: str, model: str) -> int:
    net = session(model, tuned=False)
    height, width = input_size(net)
    capture, count = cv2.VideoCapture(video), 0
    while True:
        read, frame = capture.read()
        if not read:
            return count
        look(net, prepare(frame, height, width))
        count += 1


def threaded(video: str, model: str) -> int:
    cv2.setNumThreads(1)
    frames: queue.Queue = queue.Queue(maxsize=4)
    counts = [0, 0]

    def looker(number: int) -> None:
        net = session(model, tuned=True)
        height, width = input_size(net)
        while (frame := frames.get()) is not None:
            look(net, prepare(frame, height, width))
            counts[number] += 1

    lookers = [threading.Thread(target=looker, args=(number,)) for number in range(2)]
    for thread in lookers:
        thread.start()
    capture = cv2.VideoCapture(video)
    while True:
        read, frame = capture.read()
        if not read:
            break
        frames.put(frame)
    for _ in lookers:
        frames.put(None)
    for thread in lookers:
        thread.join()
    return sum(counts)


def floor(video: str, model: str) -> int:
    capture = cv2.VideoCapture(video)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    _, frame = capture.read()
    capture.release()
    net = session(model, tuned=True)
    height, width = input_size(net)
    tensor = prepare(frame, height, width)
    for _ in range(count):
        look(net, tensor)
    return count


if __name__ == "__main__":
    ways = {"serial": serial, "threaded": threaded, "floor": floor}
    if len(sys.argv) != 4 or sys.argv[1] not in ways:
        sys.exit(__doc__)
    print(ways[sys.argv[1]](sys.argv[2], sys.argv[3]))
