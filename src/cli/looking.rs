//! Which models look, and what a track must show under their thresholds.

use crate::config::file::{ModelSection, VerifySection};
use crate::flow::detection::Class;
use crate::flow::source::Duty;
use crate::models::catalogue::Catalogue;
use crate::pipeline::inference::Models;
use crate::stages::infer::{InferError, Model};
use crate::stages::verify::rules::{ClassThreshold, VerifySettings};

/// Finds the models that a pipeline names.
pub(crate) fn models_of(section: &ModelSection) -> Result<Models, InferError> {
    let catalogue = Catalogue::of_this_machine();
    let alarm = section.alarm.as_deref().map(|name| Model::find(&catalogue, name));
    Ok(Models::new(
        Model::find(&catalogue, &section.name)?,
        alarm.transpose()?,
    ))
}

/// Returns what a track must show, with the thresholds of the model's manifest.
pub(crate) fn verify_settings(models: &Models, file: Option<&VerifySection>) -> VerifySettings {
    let thresholds = |class: Class| {
        let at = |duty| models.at(duty).manifest().threshold(class, duty);
        let close = models.at(Duty::Alarm).manifest();
        // A closer look must not make the verdict easier: alarm asks for at least what the same model asks in watch.
        ClassThreshold {
            patrol: at(Duty::Patrol),
            watch: at(Duty::Watch),
            alarm: close
                .threshold(class, Duty::Alarm)
                .max(close.threshold(class, Duty::Watch)),
        }
    };
    let flat = |value: f32| ClassThreshold {
        patrol: value,
        watch: value,
        alarm: value,
    };
    let defaults = VerifySettings::default();
    let Some(file) = file else {
        return VerifySettings {
            flame: thresholds(Class::Flame),
            smoke: thresholds(Class::Smoke),
            ..defaults
        };
    };
    VerifySettings {
        flame: file.flame.map_or_else(|| thresholds(Class::Flame), flat),
        smoke: file.smoke.map_or_else(|| thresholds(Class::Smoke), flat),
        least_seconds: file.least_seconds.unwrap_or(defaults.least_seconds),
        least_share: file.least_share.unwrap_or(defaults.least_share),
        steady_score: file.steady_score.unwrap_or(defaults.steady_score),
        ..defaults
    }
}
