//! Threshold signing for Cairn: CGGMP24 and FROST sessions, and the vault that keeps their secrets.
//!
//! No business rules live here. JavaScript hands in sealed blobs and messages and gets sealed blobs and messages back; nothing unwinds
//! into Node.
#![deny(unsafe_code)]

pub mod asked_secret;
pub mod backup;
pub mod backup_binding;
pub mod binding;
pub mod child;
pub mod codec;
pub mod context;
pub mod ecdsa;
pub mod engine;
pub mod executor;
pub mod failure;
pub mod frame;
pub mod frost;
pub mod key_source;
pub mod level;
pub mod primes;
pub mod public_package;
pub mod receipts;
pub mod session;
pub mod vault;
