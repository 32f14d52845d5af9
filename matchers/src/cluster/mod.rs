//! Clustering: which records of a connected component are one person.

mod agglomerate;
mod component;
mod components;
mod trace;

pub use component::{ComparedPair, Component, Evidence, Link};
pub use components::connected_components;
pub use trace::Trace;
