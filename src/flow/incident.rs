//! An incident (火点) is one fire, over all sources, with a clock, a grid cell, an owner, evidence and a life cycle.
