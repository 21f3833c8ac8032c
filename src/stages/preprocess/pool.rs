//! Lends tensors and takes them back when they are dropped.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps a bounded number of tensors of one size. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct TensorPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    elements: usize,
    kept_at_most: usize,
    free: Mutex<Vec<Vec<f32>>>,
}

impl TensorPool {
    /// Makes a pool of tensors of `elements` numbers each (4 bytes a number) that keeps at most `kept_at_most` of
    /// those that nobody uses; more may be out at once.
    #[must_use]
    pub fn new(elements: usize, kept_at_most: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                elements,
                kept_at_most,
                free: Mutex::new(Vec::with_capacity(kept_at_most)),
            }),
        }
    }

    /// Lends a tensor whose numbers are whatever they were last.
    #[must_use]
    pub fn take(&self) -> Tensor {
        let free = self
            .shared
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Tensor {
            numbers: free.unwrap_or_else(|| vec![0.0; self.shared.elements]),
            home: Arc::clone(&self.shared),
        }
    }

    /// Returns how many tensors lie here unused.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.shared
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Numbers on loan from a [`TensorPool`].
#[derive(Debug)]
pub struct Tensor {
    numbers: Vec<f32>,
    home: Arc<Shared>,
}

impl Deref for Tensor {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers
    }
}

impl DerefMut for Tensor {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.home.kept_at_most {
            free.push(std::mem::take(&mut self.numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_tensor_is_lent_again_and_no_more_than_agreed_are_kept() {
        let pool = TensorPool::new(12, 2);
        let mut first = pool.take();
        assert_eq!(first.len(), 12);
        if let Some(number) = first.first_mut() {
            *number = 7.0;
        }
        drop(first);
        assert!((pool.take()[0] - 7.0).abs() < f32::EPSILON);
        let out: Vec<_> = (0..4).map(|_| pool.take()).collect();
        drop(out);
        assert_eq!(pool.unused(), 2);
    }
}
