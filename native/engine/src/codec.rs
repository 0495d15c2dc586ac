//! Strict CBOR (RFC 8949): what decodes is exactly what this module would have encoded, so every value has one encoding.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

/// The bytes are not the one encoding of the expected value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotCanonical;

/// Nested containers beyond this depth are refused; the deepest legitimate message has about ten.
const MAX_DEPTH: usize = 32;

/// Encodes a public value.
///
/// # Errors
/// Only when the value itself refuses to serialise.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).map_err(|_| NotCanonical)?;
    Ok(out)
}

/// Encodes a secret value into memory that is wiped, also where the buffer had to grow.
///
/// # Errors
/// Only when the value itself refuses to serialise.
pub fn encode_secret<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, NotCanonical> {
    let mut out = WipingBuffer(Zeroizing::new(Vec::with_capacity(16 * 1024)));
    ciborium::into_writer(value, &mut out).map_err(|_| NotCanonical)?;
    Ok(out.0)
}

/// Decodes `bytes` and refuses whatever encodes to other bytes: trailing data, long forms, repeated or extra keys.
///
/// # Errors
/// `NotCanonical` for anything but the one encoding of a `T`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, NotCanonical> {
    let value: T =
        ciborium::de::from_reader_with_recursion_limit(bytes, MAX_DEPTH).map_err(|_| NotCanonical)?;
    let mut again = WipingBuffer(Zeroizing::new(Vec::with_capacity(bytes.len())));
    ciborium::into_writer(&value, &mut again).map_err(|_| NotCanonical)?;
    if again.0.as_slice() == bytes {
        Ok(value)
    } else {
        Err(NotCanonical)
    }
}

/// Decodes what this engine sealed itself: authenticated encryption already says that it is what [`encode_secret`] wrote.
///
/// # Errors
/// `NotCanonical` for anything that is no `T`.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotCanonical> {
    ciborium::de::from_reader_with_recursion_limit(bytes, MAX_DEPTH).map_err(|_| NotCanonical)
}

/// A growing buffer that wipes the memory it leaves behind.
struct WipingBuffer(Zeroizing<Vec<u8>>);

impl io::Write for WipingBuffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + data.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity() * 2));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = Zeroizing::new(larger);
        }
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Sample {
        a: u8,
        b: Vec<u8>,
    }

    #[test]
    fn one_value_has_one_encoding() {
        let sample = Sample { a: 1, b: vec![2, 3] };
        let bytes = encode(&sample).unwrap();
        assert_eq!(decode::<Sample>(&bytes).unwrap(), sample);
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert_eq!(decode::<Sample>(&trailing), Err(NotCanonical));
        // {"a": 1 in two bytes, "b": [2, 3]}
        let long = [
            &[0xa2, 0x61, b'a', 0x18, 1, 0x61, b'b'],
            &bytes[bytes.len() - 3..],
        ]
        .concat();
        assert_eq!(decode::<Sample>(&long), Err(NotCanonical));
        assert_eq!(decode::<Sample>(&[0x9f; 4096]), Err(NotCanonical));
    }

    #[test]
    fn a_secret_buffer_grows_without_losing_data() {
        let value = Sample {
            a: 9,
            b: vec![7; 100_000],
        };
        assert_eq!(
            encode_secret(&value).unwrap().as_slice(),
            encode(&value).unwrap().as_slice()
        );
    }
}
