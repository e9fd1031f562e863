//! The server as a library: the rooms behind the one binary. `app` wires them.

pub mod bus;
pub mod channels;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod services;
pub mod storage;
pub mod telemetry;
pub mod wake;
pub mod workers;
