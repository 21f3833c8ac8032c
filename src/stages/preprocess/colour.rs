//! From YUV to RGB, and on to what the model wants, in one linear step per channel.

use crate::flow::frame::{ColourMatrix, ColourRange};
use crate::models::manifest::ColourOrder;

use super::InputSpec;

/// Linear maps for one channel: `clamp(y·Y + u·U + v·V + offset)`, then `· gain + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Channel {
    pub(crate) y: f32,
    pub(crate) u: f32,
    pub(crate) v: f32,
    pub(crate) offset: f32,
    pub(crate) gain: f32,
    pub(crate) bias: f32,
}

impl Channel {
    /// Returns what the model sees for codes (which may be fractions) of 0 to 255.
    #[inline]
    pub(crate) fn apply(&self, y: f32, u: f32, v: f32) -> f32 {
        let code = self.y * y + self.u * u + self.v * v + self.offset;
        code.clamp(0.0, 255.0) * self.gain + self.bias
    }

    /// Returns what the model sees where there is only padding.
    pub(crate) fn padding(&self, code: f32) -> f32 {
        code * self.gain + self.bias
    }
}

/// Returns the weights of red and blue in the luma of a matrix.
pub(crate) const fn luma_weights(matrix: ColourMatrix) -> (f32, f32) {
    match matrix {
        ColourMatrix::Bt601 => (0.299, 0.114),
        ColourMatrix::Bt709 => (0.2126, 0.0722),
        ColourMatrix::Bt2020 => (0.2627, 0.0593),
    }
}

/// Returns the maps of the three channels in the model's order.
pub(crate) fn channels(matrix: ColourMatrix, range: ColourRange, spec: &InputSpec) -> [Channel; 3] {
    let (red, blue) = luma_weights(matrix);
    let green = 1.0 - red - blue;
    let (luma_gain, luma_zero, chroma_gain) = match range {
        ColourRange::Full => (1.0, 0.0, 1.0),
        ColourRange::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
    };
    let to_red = 2.0 * (1.0 - red) * chroma_gain;
    let to_blue = 2.0 * (1.0 - blue) * chroma_gain;
    let codes = [
        (0.0, to_red),
        (-to_blue * blue / green, -to_red * red / green),
        (to_blue, 0.0),
    ];
    let mut channels = codes.map(|(u, v)| Channel {
        y: luma_gain,
        u,
        v,
        offset: -luma_gain * luma_zero - 128.0 * (u + v),
        gain: 1.0,
        bias: 0.0,
    });
    if spec.colour == ColourOrder::Bgr {
        channels.reverse();
    }
    for (channel, (mean, std)) in channels.iter_mut().zip(spec.mean.iter().zip(spec.std)) {
        channel.gain = spec.scale / std;
        channel.bias = -mean / std;
    }
    channels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::manifest::Anchor;

    fn spec(colour: ColourOrder) -> InputSpec {
        InputSpec {
            width: 64,
            height: 64,
            colour,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            padding: 114.0,
            anchor: Anchor::TopLeft,
        }
    }

    fn seen(matrix: ColourMatrix, range: ColourRange, yuv: (f32, f32, f32)) -> [f32; 3] {
        channels(matrix, range, &spec(ColourOrder::Rgb)).map(|channel| channel.apply(yuv.0, yuv.1, yuv.2))
    }

    #[test]
    fn the_codes_of_the_standards_colour_bars_come_back() {
        // 100 % red: BT.601 limited (81, 90, 240), BT.709 limited (63, 102, 240), JPEG (76, 85, 255).
        let cases = [
            (ColourMatrix::Bt601, ColourRange::Limited, (81.0, 90.0, 240.0)),
            (ColourMatrix::Bt709, ColourRange::Limited, (63.0, 102.0, 240.0)),
            (ColourMatrix::Bt601, ColourRange::Full, (76.0, 85.0, 255.0)),
        ];
        for (matrix, range, yuv) in cases {
            let [red, green, blue] = seen(matrix, range, yuv);
            assert!(
                red > 252.0 && green < 3.0 && blue < 3.0,
                "{matrix:?} {red} {green} {blue}"
            );
        }
    }

    #[test]
    fn white_and_black_are_white_and_black_in_every_matrix_and_range() {
        for matrix in [ColourMatrix::Bt601, ColourMatrix::Bt709, ColourMatrix::Bt2020] {
            for (range, black, white) in [
                (ColourRange::Limited, 16.0, 235.0),
                (ColourRange::Full, 0.0, 255.0),
            ] {
                for code in seen(matrix, range, (white, 128.0, 128.0)) {
                    assert!((code - 255.0).abs() < 0.01);
                }
                for code in seen(matrix, range, (black, 128.0, 128.0)) {
                    assert!(code.abs() < 0.01);
                }
            }
        }
    }

    #[test]
    fn mean_and_deviation_belong_to_the_channels_in_the_models_order() {
        let mut spec = spec(ColourOrder::Bgr);
        spec.scale = 1.0 / 255.0;
        spec.mean = [0.1, 0.2, 0.3];
        spec.std = [0.5, 0.5, 0.25];
        let channels = channels(ColourMatrix::Bt601, ColourRange::Full, &spec);
        let [blue, _, red] = channels.map(|channel| channel.apply(76.0, 85.0, 255.0));
        assert!((blue - (0.0 - 0.1) / 0.5).abs() < 0.02);
        assert!((red - (1.0 - 0.3) / 0.25).abs() < 0.06);
    }
}
