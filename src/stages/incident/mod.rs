//! Makes one incident of the reports of all sources.
