//! Presignatures at rest, the partial made from one, and the signature combined from partials.

use std::collections::BTreeMap;

use cggmp24::DataToSign;
use cggmp24::generic_ec::{NonZero, Point, Scalar};
use cggmp24::signing::{
    PartialSignature, Presignature, PresignatureCommitment, PresignaturePublicData, Signature,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::Digest as _;

use crate::child::KeyPath;
use crate::codec;
use crate::context::KeyRef;
use crate::ecdsa::{Curve, Digest};
use crate::failure::{Code, Failure};
use crate::level::LEVEL;
use crate::public_package::{Protocol, PublicPackage, check_parties, read_point, write_point};
use crate::receipts::{BurnReceipt, Receipts};
use crate::vault::{BlobKind, Vault};

const VERSION: u8 = 1;
/// Version (1) ‖ presignature id (32) ‖ σ (32).
const PARTIAL_LENGTH: usize = 65;

/// SHA256d of `preimage`, which this engine hashed itself: nobody can ask for a bare hash (eprint 2021/1330).
pub fn data_to_sign(preimage: &[u8]) -> DataToSign<Curve> {
    DataToSign::digest::<Digest>(&Digest::digest(preimage))
}

/// What all signers of a presignature know alike. Fields stand in DAG-CBOR order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicData {
    v: u8,
    /// The presignature's id.
    id: ByteArray<32>,
    path: KeyPath,
    epoch: u64,
    /// Γ: the point whose x coordinate is r.
    gamma: ByteArray<33>,
    key_id: ByteArray<32>,
    level: String,
    signers: Vec<u16>,
    /// Child key that the presignature is good for.
    child_key: ByteArray<33>,
    /// (Δ̃_j, S̃_j) in the order of `signers`.
    commitments: Vec<(ByteArray<33>, ByteArray<33>)>,
}

impl PublicData {
    pub fn new(
        key_ref: KeyRef,
        id: [u8; 32],
        signers: &[u16],
        path: KeyPath,
        package: &PublicPackage,
        data: &PresignaturePublicData<Curve>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            v: VERSION,
            id: ByteArray::new(id),
            path,
            epoch: key_ref.epoch,
            gamma: write_point(&data.Gamma)?,
            key_id: ByteArray::new(key_ref.key_id),
            level: LEVEL.name().into(),
            signers: signers.to_vec(),
            child_key: write_point(&package.child(path)?.child)?,
            commitments: data
                .commitments
                .iter()
                .map(|c| Ok((write_point(&c.tilde_Delta)?, write_point(&c.tilde_S)?)))
                .collect::<Result<_, Failure>>()?,
        })
    }

    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let data: Self = codec::decode(bytes)
            .map_err(|_| Failure::malformed("the presignature's public data is not in its canonical form"))?;
        check_parties(&data.signers)?;
        let fits =
            data.v == VERSION && data.level == LEVEL.name() && data.commitments.len() == data.signers.len();
        if !fits {
            return Err(Failure::malformed(
                "the presignature's public data contradicts itself",
            ));
        }
        Ok(data)
    }

    pub fn write(&self) -> Result<Vec<u8>, Failure> {
        Ok(codec::encode(self)?)
    }

    fn key_ref(&self) -> KeyRef {
        KeyRef {
            key_id: self.key_id.into_array(),
            epoch: self.epoch,
        }
    }

    fn points(&self) -> Result<PresignaturePublicData<Curve>, Failure> {
        Ok(PresignaturePublicData {
            Gamma: read_point(self.gamma.as_slice())?,
            commitments: self
                .commitments
                .iter()
                .map(|(delta, s)| {
                    Ok(PresignatureCommitment {
                        tilde_Delta: read_point(delta.as_slice())?.into_inner(),
                        tilde_S: read_point(s.as_slice())?.into_inner(),
                    })
                })
                .collect::<Result<_, Failure>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPresignature {
    v: u8,
    path: KeyPath,
    signers: Vec<u16>,
    /// SHA-256 of the public data that it was made with.
    public: ByteArray<32>,
    half: Presignature<Curve>,
}

pub fn seal_presignature(
    vault: &Vault,
    data: &PublicData,
    public_data: &[u8],
    half: Presignature<Curve>,
) -> Result<Vec<u8>, Failure> {
    let stored = StoredPresignature {
        v: VERSION,
        path: data.path,
        signers: data.signers.clone(),
        public: ByteArray::new(Digest::digest(public_data).into()),
        half,
    };
    vault.seal(
        BlobKind::EcdsaPresignature,
        data.key_ref(),
        &data.id.into_array(),
        &codec::encode_secret(&stored)?,
    )
}

/// What a caller names when it asks for a partial; the presignature must agree with all of it.
pub struct IssueRequest<'a> {
    pub key_ref: KeyRef,
    pub receipt: BurnReceipt,
    pub path: KeyPath,
    pub signers: &'a [u16],
    pub preimage: &'a [u8],
}

/// Makes this node's partial: the only use of a presignature. The id is consumed here, before the partial exists.
///
/// # Errors
/// `sealed-blob-invalid`, `presignature-mismatch` (nothing consumed), `presignature-used`.
pub fn issue(
    vault: &Vault,
    receipts: &Receipts,
    sealed: &[u8],
    request: &IssueRequest<'_>,
) -> Result<Vec<u8>, Failure> {
    receipts.check(&request.receipt)?;
    let mismatch = |what: &str| {
        Failure::new(
            Code::PresignatureMismatch,
            format!("the presignature was made for {what}; use one that was made for this input"),
        )
    };
    if request.receipt.epoch != request.key_ref.epoch {
        return Err(mismatch("another epoch than the receipt names"));
    }
    let plain = vault.open(
        BlobKind::EcdsaPresignature,
        request.key_ref,
        &request.receipt.id,
        sealed,
    )?;
    let stored: StoredPresignature = codec::decode_own(&plain).map_err(|_| {
        Failure::new(
            Code::SealedBlobInvalid,
            "the presignature opened but its content is damaged",
        )
    })?;
    if stored.v != VERSION {
        return Err(mismatch("another version of this engine"));
    }
    if stored.path != request.path {
        return Err(mismatch("another path"));
    }
    if stored.signers != request.signers {
        return Err(mismatch("other signers"));
    }
    receipts.consume(&request.receipt)?;
    let partial = stored
        .half
        .issue_partial_signature(data_to_sign(request.preimage));
    let mut out = Vec::with_capacity(PARTIAL_LENGTH);
    out.push(VERSION);
    out.extend_from_slice(&request.receipt.id);
    out.extend_from_slice(partial.sigma.to_be_bytes().as_bytes());
    Ok(out)
}

/// Combines partials of all signers of `public_data`.
///
/// # Errors
/// `invalid-partial` naming every node whose partial fails; `presignature-mismatch` where the data is for other things.
pub fn combine_partials(
    package: &PublicPackage,
    public_data: &[u8],
    path: KeyPath,
    preimage: &[u8],
    partials: &[(u16, Vec<u8>)],
) -> Result<[u8; 64], Failure> {
    let data = PublicData::read(public_data)?;
    let mismatch = |what: &str| Failure::new(Code::PresignatureMismatch, what.to_owned());
    if package.protocol != Protocol::Cggmp24
        || data.key_id != package.key_id
        || data.epoch != package.epoch
        || data.signers.len() != usize::from(package.threshold)
        || data
            .signers
            .iter()
            .any(|signer| !package.parties.contains(signer))
    {
        return Err(mismatch(
            "the presignature belongs to another key, epoch or group of nodes",
        ));
    }
    if data.path != path {
        return Err(mismatch("the presignature was made for another path"));
    }
    if data.child_key != write_point(&package.child(path)?.child)? {
        return Err(mismatch("the presignature was made for another child key"));
    }
    let mut sigmas = BTreeMap::new();
    let mut unreadable = Vec::new();
    for (from, partial) in partials {
        if !data.signers.contains(from) || sigmas.contains_key(from) || unreadable.contains(from) {
            return Err(mismatch(
                "partials must come once from each signer of the presignature",
            ));
        }
        match read_partial(partial, &data.id.into_array()) {
            Some(sigma) => {
                sigmas.insert(*from, sigma);
            }
            None => unreadable.push(*from),
        }
    }
    if !unreadable.is_empty() {
        return Err(Failure::new(
            Code::InvalidPartial,
            "a partial does not decode or belongs to another presignature",
        )
        .blaming(unreadable));
    }
    if sigmas.len() != data.signers.len() {
        return Err(mismatch(
            "a partial of every signer of the presignature is needed",
        ));
    }
    combine(package, &data, path, preimage, &sigmas)
}

fn read_partial(bytes: &[u8], id: &[u8; 32]) -> Option<Scalar<Curve>> {
    if bytes.len() != PARTIAL_LENGTH || bytes[0] != VERSION || bytes[1..33] != id[..] {
        return None;
    }
    Scalar::from_be_bytes(&bytes[33..]).ok()
}

/// Checks every σ_j by σ_j·Γ = m·Δ̃_j + r·S̃_j, adds them, and verifies the sum under the child key. Low s.
pub fn combine(
    package: &PublicPackage,
    data: &PublicData,
    path: KeyPath,
    preimage: &[u8],
    sigmas: &BTreeMap<u16, Scalar<Curve>>,
) -> Result<[u8; 64], Failure> {
    let child = package.child(path)?.child;
    let points = data.points()?;
    // Σ Δ̃_j = G and Σ S̃_j = X hold for every honest presignature of this key.
    let deltas: Point<Curve> = points.commitments.iter().map(|c| c.tilde_Delta).sum();
    let keys: Point<Curve> = points.commitments.iter().map(|c| c.tilde_S).sum();
    if deltas != Point::generator().to_point() || keys != child {
        return Err(Failure::new(
            Code::PresignatureMismatch,
            "the presignature's public data does not belong to the key at this path",
        ));
    }
    let message = data_to_sign(preimage);
    let (m, r) = (message.to_scalar(), r_of(&points.Gamma));
    let mut faulty = Vec::new();
    let mut ordered = Vec::new();
    for (signer, commitment) in data.signers.iter().zip(&points.commitments) {
        let sigma = *sigmas
            .get(signer)
            .ok_or_else(|| Failure::internal("a partial of a signer is missing"))?;
        if points.Gamma * sigma != commitment.tilde_Delta * m + commitment.tilde_S * r {
            faulty.push(*signer);
        }
        ordered.push(PartialSignature { sigma });
    }
    if !faulty.is_empty() {
        return Err(Failure::new(
            Code::InvalidPartial,
            "a partial fails the check against the presignature's public data",
        )
        .blaming(faulty));
    }
    let signature = PartialSignature::combine(&ordered, &points, message)
        .ok_or_else(|| Failure::new(Code::InvalidSignature, "the partials do not combine"))?;
    signature
        .verify(&child, &message)
        .map_err(|_| Failure::new(Code::InvalidSignature, "the combined signature does not verify"))?;
    let mut out = [0; 64];
    signature.write_to_slice(&mut out);
    Ok(out)
}

fn r_of(gamma: &NonZero<Point<Curve>>) -> Scalar<Curve> {
    use cggmp24::generic_ec::coords::AlwaysHasAffineX;
    gamma.x().to_scalar()
}

/// Whether `signature` (r ‖ s, low s) signs SHA256d of `preimage` under the child key at `path`.
pub fn verify(
    package: &PublicPackage,
    path: KeyPath,
    preimage: &[u8],
    signature: &[u8],
) -> Result<bool, Failure> {
    let child = package.child(path)?.child;
    let Some(parsed) = Signature::<Curve>::read_from_slice(signature) else {
        return Ok(false);
    };
    Ok(parsed.normalize_s() == parsed && parsed.verify(&child, &data_to_sign(preimage)).is_ok())
}
