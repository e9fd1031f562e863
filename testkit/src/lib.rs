//! What integration tests stand on: real servers of their own, a network that fails on demand, and waiting on conditions.
//!
//! It may see the server's library and the simulator; nothing but tests and benchmarks may use it. Start with [`instances`].

mod eventually;
pub mod instances;
mod proxy;

pub use eventually::eventually;
pub use proxy::Proxy;
