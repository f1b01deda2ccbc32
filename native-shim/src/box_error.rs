//! What goes wrong in bodies, whoever they come from.

use std::error::Error;

/// What goes wrong in a body.
pub type BoxError = Box<dyn Error + Send + Sync>;
