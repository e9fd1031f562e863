//! Compiles `switchboard/v1/*.proto` with protox, so that no protobuf compiler has to be installed: messages, clients
//! and servers for Rust, and the encoded descriptor set with its comments for reflection and for tools.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let package = root.join("switchboard/v1");
    println!("cargo::rerun-if-changed={}", package.display());
    println!("cargo::rerun-if-changed={}", root.join("google").display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&package)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    // protox's own bytes, not those of prost's types: prost would drop the options that are extensions
    // (field_behavior).
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("switchboard_descriptor.bin"), encoded)?;

    // Ordered maps: equal messages have equal bytes, which fingerprints of requests rest on.
    tonic_prost_build::configure().btree_map(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
