//! What is done to a person or a studio as a whole: given out, erased, closed.

pub mod closing;
pub mod erasure;
pub mod receipt;
