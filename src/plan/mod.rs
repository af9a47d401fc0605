//! Config, Request and Facts become one value, the Plan.
