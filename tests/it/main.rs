//! Integration tests, one module per property.

mod fixtures;

mod geo;
