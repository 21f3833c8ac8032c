//! Turns frames into model inputs: letterbox, YUV to CHW, tiles.
