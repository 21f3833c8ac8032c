//! What an analysis of recordings leaves behind: a summary, lines of JSON, pictures and a page to read.

pub mod summary;

pub mod records;

pub mod page;
