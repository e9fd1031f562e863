//! The server as a library: the rooms behind the one binary. `app` wires them.

pub mod app;
pub mod blobs;
pub mod bus;
pub mod channels;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod grpc;
pub mod http;
pub mod services;
pub mod storage;
pub mod telemetry;
pub mod wake;
pub mod workers;
