//! The gRPC contract of Veridem, generated from `veridem/v1/*.proto`, where every message and field is documented.

/// Package `veridem.v1`.
#[expect(
    missing_docs,
    clippy::large_enum_variant,
    reason = "generated; the documentation stands in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("veridem.v1");

    /// The encoded descriptor set, for reflection.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/veridem.v1.bin"));
}
