//! laws
#[test]
fn x() { }
