//! Measures a model against labelled pictures, through the preprocessing and post-processing that ship.
//!
//! [`run`] looks at the pictures, [`matching`] decides which detection found what, as COCO does, [`curve`] makes
//! average precision of it, [`bootstrap`] says how sure that is, [`report`] writes it down, [`plots`] and [`sheet`]
//! draw it.

pub mod run;

pub mod matching;

pub mod curve;

pub mod bootstrap;

pub mod report;

pub mod plots;

pub mod sheet;

use crate::flow::detection::{BBox, Class, Detection};

/// A box that is there, in source pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// What it is.
    pub class: Class,
    /// Where it is.
    pub bbox: BBox,
    /// Whether it stands for a crowd, which counts neither way.
    pub is_crowd: bool,
}

/// One picture: what is there and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What is there.
    pub truths: Vec<Truth>,
    /// What was found, sorted by falling score.
    pub detections: Vec<Detection>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether smoke, where it is seen, is among the truths.
    pub smoke_labelled: bool,
}

impl Look {
    /// Returns the area of the picture in square pixels.
    #[must_use]
    pub fn area(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height)
    }

    /// Whether something burns in it.
    #[must_use]
    pub fn burns(&self) -> bool {
        !self.truths.is_empty()
    }

    /// Whether it is known that nothing burns in it.
    #[must_use]
    pub fn is_known_quiet(&self) -> bool {
        self.truths.is_empty() && self.smoke_labelled
    }

    /// Whether a class can be judged on it.
    #[must_use]
    pub fn judges(&self, class: Class) -> bool {
        self.smoke_labelled || class != Class::Smoke
    }

    /// Whether it alarms: any detection of any class reaches that class's threshold.
    #[must_use]
    pub fn alarms(&self, thresholds: &[f64; 2]) -> bool {
        Class::ALL.iter().zip(thresholds).any(|(class, threshold)| {
            self.detections
                .iter()
                .any(|found| found.class == *class && f64::from(found.score) >= *threshold)
        })
    }
}

#[cfg(test)]
mod tests;
