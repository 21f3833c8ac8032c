//! Paints a frame of a scene, from far to near, and measures on it what the truth says.

use nalgebra::Vector3;

use super::backdrop::{Backdrop, CloudShadows};
use super::camera::Camera;
use super::canvas::Canvas;
use super::flame::Flame;
use super::layer::Layer;
use super::lookalike;
use super::noise::{hash, smoothstep};
use super::options::{SceneKind, Weather};
use super::puffs::{Cloud, Style, layer};
use super::scene::{GROUND_HEIGHT_M, Scene};
use super::things::{Standing, ThingPainter, in_view};
use super::truth::Truth;
use crate::flow::detection::Class;
use crate::flow::frame::Picture;

/// Opacity, times what the air lets through, above which a pixel counts as smoke.
const SMOKE_VISIBLE: f32 = 0.26;
/// By how many display values a pixel must change as well: smoke that looks like what lies behind is not seen.
const SMOKE_CHANGES: f32 = 4.0;
/// Fewer pixels than this are not called smoke or flame.
const LEAST_PIXELS: f64 = 12.0;

/// What a frame shows besides fire, smoke and lamps.
#[derive(Debug)]
pub(super) struct Stage {
    /// The picture with everything farther away than the plume.
    behind: Vec<[u8; 4]>,
    /// What stands nearer, farthest first.
    before: Vec<Standing>,
}

impl Scene {
    /// Renders a frame and says what is true of it.
    #[must_use]
    pub fn frame(&self, index: u64) -> (Picture, Truth) {
        let time_s = self.pts_s(index);
        let pose = self.pose(time_s);
        let (width, height) = (self.options.width as usize, self.options.height as usize);
        let camera = Camera::new(&pose, self.options.width, self.options.height, GROUND_HEIGHT_M);
        let (rotation, shift) = camera.reach_from(&self.frame);
        let to_camera = move |point: Vector3<f64>| rotation * point + shift;
        let back = rotation.transpose();
        let to_scene = move |point: Vector3<f64>| back * (point - shift);
        let camera_at = to_scene(Vector3::zeros());
        let foot = to_camera(Vector3::zeros());
        let centre_depth_m = camera.direction_seen(foot).z;
        let painter = ThingPainter {
            camera: &camera,
            light: &self.light,
            trees: &self.trees,
        };

        let set_the_stage = || {
            let mut canvas = Canvas::new(width, height);
            Backdrop {
                camera: &camera,
                to_scene: &to_scene,
                ground: &self.ground,
                light: &self.light,
                noise: &self.noise,
                shadows: self.shadows(time_s),
            }
            .paint(&mut canvas);
            let mut extra = self.things.clone();
            extra.extend(lookalike::vehicles(self.options.kind, time_s));
            let standing = in_view(
                &self.ground,
                &extra,
                &camera,
                camera_at,
                &to_camera,
                (width, height),
                self.light.visibility_m,
            );
            let nearer = standing.partition_point(|thing| thing.depth_m > centre_depth_m - 1.0);
            for thing in &standing[..nearer] {
                painter.paint(&mut canvas, thing);
            }
            Stage {
                behind: canvas.pixels,
                before: standing[nearer..].to_vec(),
            }
        };
        let moving;
        let stage = if self.flight.is_still() {
            self.still.get_or_init(set_the_stage)
        } else {
            moving = set_the_stage();
            &moving
        };

        let mut canvas = Canvas::from_pixels(width, height, stage.behind.clone());
        let flame = self.flame(time_s, &camera, foot);
        if let Some(strength) = self.burning(time_s) {
            self.scorch(&mut canvas, &camera, foot, strength, time_s);
        }
        let clear = self.light.clearness(foot.norm() as f32);
        let visible = (
            (SMOKE_VISIBLE / clear).min(0.9),
            SMOKE_CHANGES.max(2.0 * self.light.grain),
        );
        let plume = self
            .plume(time_s, &camera, &to_camera, (width, height))
            .map(|plume| plume.lay(&mut canvas, visible));
        if let Some(flame) = &flame {
            flame.paint(&mut canvas, &self.light, &self.noise);
        }
        canvas.is_before_plume = true;
        for thing in &stage.before {
            painter.paint(&mut canvas, thing);
        }
        self.lamps_and_glint(&mut canvas, &camera, &to_camera, time_s, camera_at);

        let mut boxes = Vec::new();
        if self.fire.is_some() {
            if let Some(flame) = &flame {
                let extent = flame.extent(&canvas, &self.noise);
                boxes.extend(extent.bounding(Class::Flame, (width, height), LEAST_PIXELS));
            }
            if let Some(plume) = &plume {
                let extent = plume.extent(&canvas);
                boxes.extend(extent.bounding(Class::Smoke, (width, height), LEAST_PIXELS));
            }
        }
        let fire = self.fire.filter(|_| self.burning(time_s).is_some());
        let truth = Truth {
            frame: index,
            pts_s: time_s,
            boxes,
            fire,
            foot_px: fire.and_then(|fire| camera.project(fire)).and_then(|(u, v, _)| {
                let is_inside = (0.0..width as f64).contains(&u) && (0.0..height as f64).contains(&v);
                is_inside.then_some([u, v])
            }),
            pose,
        };
        let picture = canvas.develop(&self.noise, self.light.grain, hash(self.options.seed, index));
        (picture, truth)
    }

    /// Returns how strongly it burns, 0 to 1; nothing before the start, where there is no fire, and once it is out.
    fn burning(&self, time_s: f64) -> Option<f64> {
        self.fire?;
        let since_s = time_s - self.options.fire_start_s;
        let grows = smoothstep(-8.0, 18.0, since_s as f32);
        let fades = 1.0 - smoothstep(0.0, 25.0, (since_s - self.options.fire_lasts_s) as f32);
        let strength = f64::from(grows * fades);
        (since_s >= 0.0 && strength > 0.0).then_some(strength)
    }

    fn plume(
        &self,
        time_s: f64,
        camera: &Camera,
        to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
        frame: (usize, usize),
    ) -> Option<Layer> {
        let fire = |birth_s: f64| (Vector3::zeros(), self.burning(birth_s).unwrap_or(0.0));
        let (style, source): (Style, &dyn Fn(f64) -> (Vector3<f64>, f64)) =
            if let Some((style, source)) = &self.cloud {
                (*style, source)
            } else {
                self.fire?;
                (Style::smoke(self.smoke_shade, self.options.fire_size), &fire)
            };
        let cloud = Cloud {
            style,
            source,
            wind: self.wind,
            seed: hash(self.options.seed, 7),
            lit_from_below: if self.cloud.is_none() {
                0.12 + 0.6 * self.light.darkness
            } else {
                0.0
            },
        };
        layer(
            &cloud,
            time_s,
            camera,
            to_camera,
            &self.light,
            &self.sprites,
            frame,
        )
    }

    fn flame(&self, time_s: f64, camera: &Camera, foot: Vector3<f64>) -> Option<Flame> {
        let strength = self.burning(time_s)?;
        let (u, v, depth_m) = camera.project_local(foot)?;
        let pixels_per_m = camera.focal_px() / depth_m;
        let size = self.options.fire_size.sqrt();
        Some(Flame {
            foot: (u as f32, v as f32),
            half_width: ((0.9 + 2.8 * strength) * size * pixels_per_m) as f32,
            height: ((2.0 + 5.2 * strength) * size * pixels_per_m) as f32,
            distance_m: foot.norm() as f32,
            time_s: (time_s - self.options.fire_start_s) as f32,
        })
    }

    /// Darkens the ground that has burnt.
    fn scorch(&self, canvas: &mut Canvas, camera: &Camera, foot: Vector3<f64>, strength: f64, time_s: f64) {
        let Some((u, v, depth_m)) = camera.project_local(foot) else {
            return;
        };
        let burnt_m = (1.0 + 3.0 * strength + 0.05 * (time_s - self.options.fire_start_s))
            * self.options.fire_size.sqrt();
        let reach = burnt_m * camera.focal_px() / depth_m;
        let colour = self.light.through_air(
            [46.0, 42.0, 38.0].map(|c| c * self.light.on(0.6, 1.0)[1]),
            foot.norm() as f32,
        );
        for y in Canvas::span((v - reach) as f32, (v + reach) as f32, canvas.height) {
            for x in Canvas::span((u - reach) as f32, (u + reach) as f32, canvas.width) {
                let ray = camera.ray(x as f64 + 0.5, y as f64 + 0.5);
                if let Some(along) = camera.ground_along(&ray) {
                    let point = ray * along;
                    let (east, north) = ((point.x - foot.x) as f32, (point.y - foot.y) as f32);
                    let ragged = 0.55 + 0.9 * self.noise.cloudy(east * 4.0 + 30.0, north * 4.0);
                    let inside = 1.0 - east.hypot(north) / (burnt_m as f32 * ragged);
                    canvas.cover(x, y, colour, smoothstep(0.0, 0.3, inside) * 0.75);
                }
            }
        }
    }

    fn shadows(&self, time_s: f64) -> CloudShadows {
        let cover = match (self.options.kind, self.options.weather) {
            (SceneKind::LookalikeCloudShadow, _) => 0.8,
            (_, Weather::Clear) => 0.12,
            _ => 0.0,
        };
        // What a mast sees of the ground is painted once: clouds stand still over it. They travel with the wind of their height, three times that near the ground.
        let moved_m = if self.flight.is_still() { 0.0 } else { 3.0 * time_s };
        CloudShadows {
            cover,
            moved_m: ((self.wind.0 * moved_m) as f32, (self.wind.1 * moved_m) as f32),
        }
    }

    fn lamps_and_glint(
        &self,
        canvas: &mut Canvas,
        camera: &Camera,
        to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
        time_s: f64,
        camera_at: Vector3<f64>,
    ) {
        if self.options.kind == SceneKind::LookalikeHeadlights {
            let away = camera_at.x.hypot(camera_at.y).max(1.0);
            let across = (-camera_at.y / away, camera_at.x / away);
            lookalike::lamps(
                canvas,
                camera,
                to_camera,
                &self.light,
                time_s,
                self.options.seed,
                across,
            );
        }
        if self.options.kind == SceneKind::LookalikeGreenhouse && self.light.darkness < 0.5 {
            lookalike::glint(canvas, camera, to_camera, &self.light, &self.noise);
        }
    }
}
