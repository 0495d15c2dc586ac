//! Strict CBOR (RFC 8949): what decodes is exactly what this module would have encoded, so every value has one encoding.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use crate::public_package::is_compressed;

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

/// [`decode`] for a `T` that holds points, scalars and hashes, with an encoding that [`decode`] took before. Bytes that differ
/// from it only inside byte strings and hashes, and whose points begin as points of their length do, are canonical too: whatever else could be
/// written otherwise is written as there, and the curve's library refuses numbers beyond its ranges. So no point, which costs an
/// inversion, is encoded again.
///
/// # Errors
/// `NotCanonical` for anything but the one encoding of a `T`.
pub fn decode_like<T: Serialize + DeserializeOwned>(bytes: &[u8], like: &[u8]) -> Result<T, NotCanonical> {
    if alike(bytes, like).is_some() {
        decode_own(bytes)
    } else {
        decode(bytes)
    }
}

/// Whether two encodings are the same but for the content of byte strings, of which those that are as long as points begin like points, and
/// of hashes of 32 bytes written in hex.
fn alike(mut one: &[u8], mut other: &[u8]) -> Option<()> {
    while !one.is_empty() {
        let long = match one[0] & 0x1f {
            0..24 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let (head, rest) = one.split_at_checked(1 + long)?;
        other = other.strip_prefix(head)?;
        one = rest;
        let major = head[0] >> 5;
        if major == 2 || major == 3 {
            let length = if long == 0 {
                u64::from(head[0] & 0x1f)
            } else {
                head[1..].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
            };
            let length = usize::try_from(length).ok()?;
            let (content, rest) = one.split_at_checked(length)?;
            let (theirs, others) = other.split_at_checked(length)?;
            let may_differ = match (major, length) {
                (2, 33) => is_compressed(content),
                (2, 65) => content[0] == 4,
                (2, _) => true,
                _ => {
                    length == 64
                        && content
                            .iter()
                            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                }
            };
            if !may_differ && content != theirs {
                return None;
            }
            (one, other) = (rest, others);
        }
    }
    other.is_empty().then_some(())
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
    use cggmp24::generic_ec::{Point, Scalar};
    use cggmp24::supported_curves::Secp256k1;
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

    /// A number in hex, which is also read in capitals.
    #[derive(Debug, PartialEq)]
    struct Hex(u128);

    impl Serialize for Hex {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&format!("{:064x}", self.0))
        }
    }

    impl<'de> Deserialize<'de> for Hex {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            u128::from_str_radix(&text, 16)
                .map(Self)
                .map_err(serde::de::Error::custom)
        }
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Round {
        point: Point<Secp256k1>,
        scalar: Scalar<Secp256k1>,
        #[serde(with = "serde_bytes")]
        hash: Vec<u8>,
        hex: Hex,
        more: Vec<Point<Secp256k1>>,
    }

    /// `number` is at least 10, so that the hex has letters.
    fn round(number: u64) -> Vec<u8> {
        let point = Point::generator() * Scalar::from(number);
        encode(&Round {
            point,
            scalar: Scalar::from(number),
            hash: vec![number as u8; 32],
            hex: Hex(number.into()),
            more: vec![point, point],
        })
        .unwrap()
    }

    #[test]
    fn what_is_like_a_canonical_encoding_is_canonical() {
        let like = round(10);
        for number in 11..40 {
            let bytes = round(number);
            assert!(alike(&bytes, &like).is_some());
            assert_eq!(
                decode_like::<Round>(&bytes, &like).unwrap(),
                decode::<Round>(&bytes).unwrap()
            );
        }
    }

    #[test]
    fn likeness_lets_nothing_through() {
        let (good, like) = (round(175), round(10));
        let mut accepted = 0;
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = value;
                let strict = decode::<Round>(&bytes);
                accepted += u32::from(strict.is_ok());
                assert_eq!(
                    decode_like::<Round>(&bytes, &like),
                    strict,
                    "byte {at} is {value}"
                );
            }
            assert!(decode_like::<Round>(&good[..at], &like).is_err());
        }
        assert!(accepted > 256 * 32, "other scalars and hashes are accepted");
        let at = good.windows(2).position(|two| two == [0x58, 65]).unwrap() + 2;
        for tag in [0, 2, 3, 5, 6, 7] {
            let mut bytes = good.clone();
            bytes[at] = tag;
            assert!(alike(&bytes, &like).is_none(), "tag {tag}");
        }
        let large = {
            let mut bytes = good.clone();
            let at = bytes.windows(2).position(|two| two == [0x58, 32]).unwrap() + 2;
            bytes[at..at + 32].fill(0xff);
            bytes
        };
        assert!(alike(&large, &like).is_some());
        assert!(decode_like::<Round>(&large, &like).is_err());
        let trailing = [good.as_slice(), &[0]].concat();
        assert!(decode_like::<Round>(&trailing, &like).is_err());
    }
}
