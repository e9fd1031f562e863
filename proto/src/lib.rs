//! The contract: every message, client and server of the package `switchboard.v1`, generated from the commented files
//! in `switchboard/v1/`, which are the place to read and to change. `README.md` beside them has the rules.
//!
//! Only what stands at the edge may use this crate: the gRPC room of the server, and clients. It holds no logic.

/// The package `switchboard.v1`: messages, enums, and for each service a `..._client` and a `..._server` module.
pub mod v1 {
    #![expect(clippy::large_enum_variant, reason = "generated: a request is read once, boxes would only be in the way")]

    tonic::include_proto!("switchboard.v1");
}

/// The encoded `google.protobuf.FileDescriptorSet` of the whole contract with its imports, comments and annotations:
/// for gRPC reflection, and for tools that work on any message (`prost-reflect`).
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/switchboard_descriptor.bin"));

/// The `domain` of every `google.rpc.ErrorInfo` that the server sends.
pub const ERROR_DOMAIN: &str = "switchboard";
