//! Which grid cell a point lies in: asked of whoever knows the polygons.

use crate::flow::incident::GridCell;
use crate::flow::position::Position;

/// What the grid says about a point with its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GridAnswer {
    /// The cell of the point itself.
    pub cell: Option<GridCell>,
    /// Every cell that the error ellipse touches, the point's own among them, where it touches more than one.
    pub candidates: Vec<GridCell>,
}

/// Finds the grid cell of a position.
pub trait GridLookup: Send {
    /// Returns the cell of the point, and the candidates where its ellipse spans several.
    fn locate(&self, position: &Position) -> GridAnswer;
}

/// A grid without cells.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGrid;

impl GridLookup for NoGrid {
    fn locate(&self, _position: &Position) -> GridAnswer {
        GridAnswer::default()
    }
}

impl<F: Fn(&Position) -> GridAnswer + Send> GridLookup for F {
    fn locate(&self, position: &Position) -> GridAnswer {
        self(position)
    }
}
