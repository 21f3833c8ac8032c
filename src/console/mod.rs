//! HTTP interface: incidents, sources, evidence, health, server-sent events.
