//! A constant-velocity Kalman filter over a box, in media time.

use crate::flow::detection::BBox;

/// Standard deviation of a measured edge, as a share of the box's size.
const MEASURE: f64 = 0.08;
/// Standard deviation of the acceleration, in box sizes per second squared.
const ACCELERATION: f64 = 0.8;

/// One coordinate: value, rate and their covariance.
#[derive(Clone, Copy, Debug)]
struct Axis {
    value: f64,
    rate: f64,
    var_value: f64,
    var_rate: f64,
    covariance: f64,
}

impl Axis {
    fn new(value: f64, scale: f64) -> Self {
        let sigma = MEASURE * scale;
        // The first rate is unknown: half a box size a second either way.
        Self {
            value,
            rate: 0.0,
            var_value: sigma * sigma,
            var_rate: (0.5 * scale).powi(2),
            covariance: 0.0,
        }
    }

    fn predict(&mut self, dt_s: f64, scale: f64) {
        let noise = (ACCELERATION * scale).powi(2);
        self.value += self.rate * dt_s;
        self.var_value +=
            2.0 * dt_s * self.covariance + dt_s * dt_s * self.var_rate + noise * dt_s.powi(4) / 4.0;
        self.covariance += dt_s * self.var_rate + noise * dt_s.powi(3) / 2.0;
        self.var_rate += noise * dt_s * dt_s;
    }

    fn update(&mut self, measured: f64, scale: f64) {
        let innovation = measured - self.value;
        let total = self.var_value + (MEASURE * scale).powi(2);
        let (gain_value, gain_rate) = (self.var_value / total, self.covariance / total);
        self.value += gain_value * innovation;
        self.rate += gain_rate * innovation;
        self.var_rate -= gain_rate * self.covariance;
        self.covariance *= 1.0 - gain_value;
        self.var_value *= 1.0 - gain_value;
    }
}

/// Filters centre and size of a box.
#[derive(Clone, Debug)]
pub(crate) struct BoxFilter {
    cx: Axis,
    cy: Axis,
    width: Axis,
    height: Axis,
}

impl BoxFilter {
    /// Starts at a measured box, at rest.
    pub(crate) fn new(bbox: &BBox) -> Self {
        let (cx, cy) = bbox.centre();
        let (width, height) = (f64::from(bbox.width()), f64::from(bbox.height()));
        Self {
            cx: Axis::new(f64::from(cx), width),
            cy: Axis::new(f64::from(cy), height),
            width: Axis::new(width, width),
            height: Axis::new(height, height),
        }
    }

    /// Moves the box `dt_s` seconds on.
    pub(crate) fn predict(&mut self, dt_s: f64) {
        let (width, height) = self.scale();
        self.cx.predict(dt_s, width);
        self.cy.predict(dt_s, height);
        self.width.predict(dt_s, width);
        self.height.predict(dt_s, height);
        // A size is extrapolated no further than to half or twice itself.
        self.width.value = self.width.value.clamp(0.5 * width, 2.0 * width);
        self.height.value = self.height.value.clamp(0.5 * height, 2.0 * height);
    }

    /// Moves the box with the picture, when the camera turned: right and down in pixels.
    pub(crate) fn shift(&mut self, dx: f64, dy: f64) {
        self.cx.value += dx;
        self.cy.value += dy;
    }

    /// Corrects the box by a measured one.
    pub(crate) fn update(&mut self, bbox: &BBox) {
        let (width, height) = self.scale();
        let (cx, cy) = bbox.centre();
        self.cx.update(f64::from(cx), width);
        self.cy.update(f64::from(cy), height);
        self.width.update(f64::from(bbox.width()), width);
        self.height.update(f64::from(bbox.height()), height);
    }

    /// Stops the motion: an unseen plume stays where it was rather than flying off, and keeps its size rather than
    /// shrinking to nothing.
    pub(crate) fn rest(&mut self) {
        for axis in [&mut self.cx, &mut self.cy] {
            axis.rate *= 0.5;
        }
        for axis in [&mut self.width, &mut self.height] {
            axis.rate = 0.0;
        }
    }

    /// Returns the box as it is thought to be.
    pub(crate) fn bbox(&self) -> BBox {
        let (width, height) = self.scale();
        BBox::from_centre(
            self.cx.value as f32,
            self.cy.value as f32,
            width as f32,
            height as f32,
        )
    }

    fn scale(&self) -> (f64, f64) {
        (self.width.value.max(1.0), self.height.value.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_at_rest_stays_and_gets_surer() {
        let measured = BBox::new(100.0, 50.0, 140.0, 110.0);
        let mut filter = BoxFilter::new(&measured);
        for _ in 0..20 {
            filter.predict(0.2);
            filter.update(&measured);
        }
        assert!(filter.bbox().iou(&measured) > 0.99);
        assert!(filter.cx.var_value.sqrt() < MEASURE * 40.0);
    }

    #[test]
    fn a_drifting_box_is_followed_ahead_of_the_next_frame() {
        let at = |second: f32| BBox::new(100.0 + 20.0 * second, 50.0, 140.0 + 20.0 * second, 90.0);
        let mut filter = BoxFilter::new(&at(0.0));
        for step in 1..=25_u8 {
            filter.predict(0.2);
            filter.update(&at(f32::from(step) * 0.2));
        }
        filter.predict(0.2);
        assert!(
            (filter.bbox().centre().0 - at(5.2).centre().0).abs() < 1.0,
            "{:?}",
            filter.bbox()
        );
    }
    #[test]
    fn a_box_that_shrank_and_is_seen_no_more_keeps_its_size() {
        let at = |share: f32| BBox::new(100.0, 50.0, 140.0, 50.0 + 40.0 * share);
        let mut filter = BoxFilter::new(&at(1.0));
        for share in [0.8, 0.6, 0.4] {
            filter.predict(0.2);
            filter.update(&at(share));
        }
        let last = filter.bbox().height();
        for _ in 0..20 {
            filter.predict(0.2);
            filter.rest();
        }
        assert!(filter.bbox().height() >= 0.5 * last, "{:?}", filter.bbox());
        assert!((filter.bbox().width() - 40.0).abs() < 4.0, "{:?}", filter.bbox());
    }
}
