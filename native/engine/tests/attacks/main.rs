//! What malicious parties can try against the native engine. One binary, since each is linked with all crates.

mod auxiliary;
mod frost;
