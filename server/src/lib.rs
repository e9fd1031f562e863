//! The server as a library: the rooms behind the one binary. `app` wires them.

pub mod channels;
