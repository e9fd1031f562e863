//! The archive as the database knows it: which conversations are ready to go, where those that went lie, which files are to be
//! written anew or removed, and what was erased. The files themselves are another room's; what is in them is the domain's.

pub mod erasing;
pub mod files;
pub mod finding;
pub mod moving;
