//! Compiles the contract without protoc.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "common",
        "feed",
        "resolution",
        "stewardship",
        "operations",
        "privacy",
    ]
    .map(|name| format!("veridem/v1/{name}.proto"));
    println!("cargo::rerun-if-changed=veridem");
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("veridem.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
