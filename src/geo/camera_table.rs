//! Cameras of common drones: the 35 mm equivalent that the maker states, and which part of the sensor the video shows.
//!
//! A stated figure is good to a few percent: stabilisation and 4K modes crop further. Calibrate where it matters.

use super::camera::{CameraError, CameraModel, SensorCrop};

/// One camera of one drone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraEntry {
    /// Who makes it.
    pub maker: &'static str,
    /// Names by which telemetry and photos call the drone or camera, in lower case.
    pub models: &'static [&'static str],
    /// Which of its cameras: the word that `ImageSource` or the file name carries.
    pub lens: Lens,
    /// What the maker states.
    pub optics: StatedOptics,
    /// Which part of the sensor its 16:9 video shows.
    pub video_crop: SensorCrop,
    /// Where the figure comes from.
    pub source: &'static str,
}

/// Which of a drone's cameras.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lens {
    /// The usual camera.
    Wide,
    /// The medium telephoto camera.
    Medium,
    /// The telephoto or zoom camera at its widest.
    Tele,
    /// The thermal camera.
    Thermal,
}

/// What a maker states of a lens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StatedOptics {
    /// 35 mm equivalent focal length, in millimetres.
    Equivalent35mm(f64),
    /// Diagonal field of view of the whole sensor, in degrees.
    DiagonalFov(f64),
    /// Horizontal field of view, in degrees.
    HorizontalFov(f64),
}

const FOUR_THIRDS: SensorCrop = SensorCrop::FullWidthOfFourThirds;
const WHOLE: SensorCrop = SensorCrop::Whole;

macro_rules! camera {
    ($maker:literal, [$($model:literal),+], $lens:ident, $optics:ident($value:literal), $crop:ident, $source:literal) => {
        CameraEntry {
            maker: $maker,
            models: &[$($model),+],
            lens: Lens::$lens,
            optics: StatedOptics::$optics($value),
            video_crop: $crop,
            source: $source,
        }
    };
}

/// The table. Sources are the makers' specification pages for the model named.
pub const CAMERAS: &[CameraEntry] = &[
    camera!(
        "DJI",
        ["mavic 3e", "m3e"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mavic 3 Enterprise specs: 4/3 CMOS, FOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["mavic 3e", "m3e"],
        Tele,
        Equivalent35mm(162.0),
        FOUR_THIRDS,
        "DJI Mavic 3 Enterprise specs: FOV 15°, 162 mm"
    ),
    camera!(
        "DJI",
        ["mavic 3t", "m3t"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mavic 3 Enterprise specs: 1/2-inch CMOS, FOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["mavic 3t", "m3t"],
        Tele,
        Equivalent35mm(162.0),
        FOUR_THIRDS,
        "DJI Mavic 3 Enterprise specs: FOV 15°, 162 mm"
    ),
    camera!(
        "DJI",
        ["mavic 3t", "m3t"],
        Thermal,
        Equivalent35mm(40.0),
        WHOLE,
        "DJI Mavic 3 Enterprise specs: DFOV 61°, 40 mm"
    ),
    camera!(
        "DJI",
        ["m30t", "m30", "matrice 30t", "matrice 30"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Matrice 30 specs: 1/2-inch CMOS, DFOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["m30t", "m30", "matrice 30t", "matrice 30"],
        Tele,
        Equivalent35mm(113.0),
        FOUR_THIRDS,
        "DJI Matrice 30 specs: zoom camera 113 to 405 mm"
    ),
    camera!(
        "DJI",
        ["m30t", "matrice 30t"],
        Thermal,
        Equivalent35mm(40.0),
        WHOLE,
        "DJI Matrice 30 specs: DFOV 61°, 40 mm"
    ),
    camera!(
        "DJI",
        ["m4t", "matrice 4t"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Matrice 4 specs: 1/1.3-inch CMOS, FOV 82°, 24 mm"
    ),
    camera!(
        "DJI",
        ["m4t", "matrice 4t", "m4e", "matrice 4e"],
        Medium,
        Equivalent35mm(70.0),
        FOUR_THIRDS,
        "DJI Matrice 4 specs: medium tele, FOV 35°, 70 mm"
    ),
    camera!(
        "DJI",
        ["m4t", "matrice 4t", "m4e", "matrice 4e"],
        Tele,
        Equivalent35mm(168.0),
        FOUR_THIRDS,
        "DJI Matrice 4 specs: tele, FOV 15°, 168 mm"
    ),
    camera!(
        "DJI",
        ["m4t", "matrice 4t"],
        Thermal,
        Equivalent35mm(53.0),
        WHOLE,
        "DJI Matrice 4 specs: DFOV 45°, 53 mm"
    ),
    camera!(
        "DJI",
        ["m4e", "matrice 4e"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Matrice 4 specs: 4/3 CMOS, FOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["h20t", "h20", "zh20t"],
        Wide,
        DiagonalFov(82.9),
        FOUR_THIRDS,
        "DJI Zenmuse H20 specs: wide camera DFOV 82.9°, 4.5 mm (24 mm)"
    ),
    camera!(
        "DJI",
        ["h20t", "h20", "zh20t"],
        Tele,
        Equivalent35mm(31.7),
        FOUR_THIRDS,
        "DJI Zenmuse H20 specs: zoom camera 31.7 to 556.2 mm"
    ),
    camera!(
        "DJI",
        ["h20t", "zh20t"],
        Thermal,
        DiagonalFov(40.6),
        WHOLE,
        "DJI Zenmuse H20 specs: DFOV 40.6°, 13.5 mm"
    ),
    camera!(
        "DJI",
        ["mavic 3", "mavic 3 pro", "mavic 3 classic", "l2d-20c"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mavic 3 specs: 4/3 CMOS, FOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["mavic 2 pro", "l1d-20c"],
        Wide,
        Equivalent35mm(28.0),
        FOUR_THIRDS,
        "DJI Mavic 2 specs: 1-inch CMOS, FOV about 77°, 28 mm (full FOV mode)"
    ),
    camera!(
        "DJI",
        ["mavic 2 zoom", "mavic 2 enterprise"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mavic 2 specs: 1/2.3-inch CMOS, 24 to 48 mm"
    ),
    camera!(
        "DJI",
        ["mavic air 2"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mavic Air 2 specs: FOV 84°, 24 mm"
    ),
    camera!(
        "DJI",
        ["air 2s", "fc3411"],
        Wide,
        Equivalent35mm(22.0),
        FOUR_THIRDS,
        "DJI Air 2S specs: 1-inch CMOS, FOV 88°, 22 mm"
    ),
    camera!(
        "DJI",
        ["air 3", "air 3s"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Air 3 and Air 3S specs: wide camera 24 mm"
    ),
    camera!(
        "DJI",
        ["air 3", "air 3s"],
        Medium,
        Equivalent35mm(70.0),
        FOUR_THIRDS,
        "DJI Air 3 and Air 3S specs: medium tele 70 mm"
    ),
    camera!(
        "DJI",
        ["mini 2", "mini se", "mavic mini"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mini 2 specs: FOV 83°, 24 mm"
    ),
    camera!(
        "DJI",
        ["mini 3", "mini 3 pro", "mini 4 pro", "mini 5 pro"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Mini 3 Pro, 4 Pro and 5 Pro specs: 24 mm"
    ),
    camera!(
        "DJI",
        ["phantom 4 rtk", "p4 rtk", "fc6310r", "phantom 4 pro", "fc6310"],
        Wide,
        Equivalent35mm(24.0),
        FOUR_THIRDS,
        "DJI Phantom 4 Pro and RTK specs: 1-inch CMOS, 8.8 mm (24 mm)"
    ),
    camera!(
        "Autel",
        ["evo ii", "evo ii v2", "xt701"],
        Wide,
        Equivalent35mm(25.6),
        FOUR_THIRDS,
        "Autel EVO II specs: 1/2-inch CMOS, FOV 79°, 25.6 mm"
    ),
    camera!(
        "Autel",
        ["evo ii pro", "xt705"],
        Wide,
        Equivalent35mm(28.6),
        FOUR_THIRDS,
        "Autel EVO II Pro specs: 1-inch CMOS, FOV 82°, 28.6 mm"
    ),
    camera!(
        "Autel",
        ["evo max 4t"],
        Wide,
        Equivalent35mm(23.0),
        FOUR_THIRDS,
        "Autel EVO Max 4T specs: wide camera DFOV 85°, 23 mm"
    ),
    camera!(
        "Parrot",
        ["anafi usa", "anafi"],
        Wide,
        HorizontalFov(69.0),
        WHOLE,
        "Parrot ANAFI specs: video HFOV 69°"
    ),
    camera!(
        "Skydio",
        ["skydio x2", "x2", "skydio 2"],
        Wide,
        Equivalent35mm(20.0),
        FOUR_THIRDS,
        "Skydio 2 specs: 3.7 mm (20 mm equivalent)"
    ),
];

/// Returns the camera that telemetry calls `model`, or `None` if the table does not hold it. Upper and lower case, "DJI"
/// and punctuation do not matter.
#[must_use]
pub fn find(model: &str, lens: Lens) -> Option<&'static CameraEntry> {
    let wanted = plain(model);
    CAMERAS
        .iter()
        .filter(|entry| entry.lens == lens)
        .find(|entry| entry.models.iter().any(|known| plain(known) == wanted))
}

fn plain(model: &str) -> String {
    let lower = model.to_lowercase();
    let without_maker = lower
        .trim()
        .trim_start_matches("dji")
        .trim_start_matches("autel")
        .trim_start_matches("parrot");
    without_maker
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect()
}

impl CameraEntry {
    /// Makes the camera of a video or photo of this size: pictures wider than 1.6:1 are cut from the sensor's full
    /// width, others show all of it.
    pub fn model(&self, width: u32, height: u32) -> Result<CameraModel, CameraError> {
        let is_video = f64::from(width) > 1.6 * f64::from(height);
        let crop = if is_video {
            self.video_crop
        } else {
            SensorCrop::Whole
        };
        match self.optics {
            StatedOptics::Equivalent35mm(focal_mm) => {
                CameraModel::from_focal_35mm(width, height, focal_mm, crop)
            }
            StatedOptics::DiagonalFov(degrees) => {
                let focal_mm = 43.266_615_305_567_87 / 2.0 / (degrees.to_radians() / 2.0).tan();
                CameraModel::from_focal_35mm(width, height, focal_mm, crop)
            }
            StatedOptics::HorizontalFov(degrees) => CameraModel::from_hfov(width, height, degrees),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_makes_a_camera_and_names_its_source() {
        for entry in CAMERAS {
            let video = entry.model(3840, 2160).unwrap();
            assert!((3.0..95.0).contains(&video.hfov_deg()), "{entry:?}");
            assert!(entry.source.len() > 20 && !entry.models.is_empty());
            assert!(entry.models.iter().all(|model| *model == model.to_lowercase()));
        }
    }

    #[test]
    fn names_are_found_as_telemetry_writes_them() {
        for name in ["M30T", "DJI M30T", "dji-m30t", "Matrice 30T"] {
            assert_eq!(find(name, Lens::Wide).unwrap().maker, "DJI", "{name}");
        }
        assert!(find("M30T", Lens::Thermal).is_some());
        assert!(find("toaster", Lens::Wide).is_none());
    }

    #[test]
    fn an_m30t_video_sees_71_6_degrees_and_its_photo_the_whole_diagonal() {
        let entry = find("M30T", Lens::Wide).unwrap();
        assert!((entry.model(3840, 2160).unwrap().hfov_deg() - 71.6).abs() < 0.1);
        let photo = entry.model(4000, 3000).unwrap();
        let diagonal = 2.0 * (2500.0 / photo.fx).atan().to_degrees();
        assert!((diagonal - 84.0).abs() < 0.5, "DJI states 84 degrees: {diagonal}");
    }
}
