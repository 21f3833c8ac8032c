//! Looks at every picture of a dataset with a model, on several threads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Look, Truth};
use crate::dataset::{Dataset, Labelled, Problem, picture};
use crate::flow::detection::BBox;
use crate::flow::frame::Picture;
use crate::stages::infer::{Closer, InferError, Inferrer};

/// Pictures and what was found on them.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// One for each picture that could be opened, in the order of the dataset.
    pub looks: Vec<Look>,
    /// The number of each look's picture in the dataset.
    pub pictures: Vec<usize>,
    /// Pictures that could not be opened, or are not what the dataset claims.
    pub problems: Vec<Problem>,
    /// The file names of the variants of the model that were used.
    pub variants: Vec<String>,
}

/// What a worker has of one picture.
type Seen = Result<(Look, Option<Problem>), Problem>;

/// Looks at every picture; each inferrer gets a thread of its own. `done` is told after each picture.
///
/// The result does not depend on the number of inferrers.
pub fn look_at_all(
    dataset: &Dataset,
    inferrers: Vec<Inferrer>,
    closer: Closer,
    done: &(dyn Fn() + Sync),
) -> Result<Looks, InferError> {
    let next = AtomicUsize::new(0);
    let seen: Mutex<Vec<(usize, Seen)>> = Mutex::new(Vec::with_capacity(dataset.pictures.len()));
    let variants = Mutex::new(Vec::new());
    let failure: Mutex<Option<InferError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for mut inferrer in inferrers {
            let (next, seen, variants, failure) = (&next, &seen, &variants, &failure);
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(labelled) = dataset.pictures.get(place) else {
                        break;
                    };
                    match look_at(labelled, &mut inferrer, closer) {
                        Ok(look) => locked(seen).push((place, look)),
                        Err(error) => {
                            locked(failure).get_or_insert(error);
                            // The others stop at their next picture.
                            next.store(usize::MAX / 2, Ordering::Relaxed);
                            break;
                        }
                    }
                    done();
                }
                locked(variants).extend(inferrer.used().map(ToOwned::to_owned));
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    seen.sort_by_key(|(place, _)| *place);
    let mut looks = Looks::default();
    for (place, seen) in seen {
        match seen {
            Ok((look, problem)) => {
                looks.looks.push(look);
                looks.pictures.push(place);
                looks.problems.extend(problem);
            }
            Err(problem) => looks.problems.push(problem),
        }
    }
    looks.variants = variants.into_inner().unwrap_or_else(PoisonError::into_inner);
    looks.variants.sort();
    looks.variants.dedup();
    Ok(looks)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a picture and looks at it; a picture that cannot be opened is a problem, a model that fails is an error.
fn look_at(labelled: &Labelled, inferrer: &mut Inferrer, closer: Closer) -> Result<Seen, InferError> {
    let place = labelled.path.display();
    let picture = match picture::open(&labelled.path) {
        Ok(picture) => picture,
        Err(error) => return Ok(Err(Problem::new(place, error.to_string()))),
    };
    let detections = inferrer.detect(&picture, closer)?;
    let look = Look {
        truths: truths(labelled, &picture),
        detections,
        width: picture.width,
        height: picture.height,
        smoke_labelled: labelled.smoke_labelled,
    };
    let problem = labelled
        .claimed_size
        .filter(|claimed| *claimed != (picture.width, picture.height))
        .map(|(width, height)| {
            Problem::new(
                place,
                format!(
                    "the dataset says {width}x{height} pixels, the file has {}x{} (it was kept)",
                    picture.width, picture.height
                ),
            )
        });
    Ok(Ok((look, problem)))
}

fn truths(labelled: &Labelled, picture: &Picture) -> Vec<Truth> {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    labelled
        .labels
        .iter()
        .map(|label| {
            let [x0, y0, x1, y1] = label.edges;
            Truth {
                class: label.class,
                bbox: BBox::new(
                    (x0 * width) as f32,
                    (y0 * height) as f32,
                    (x1 * width) as f32,
                    (y1 * height) as f32,
                ),
                is_crowd: label.is_crowd,
            }
        })
        .collect()
}
