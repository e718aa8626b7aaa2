//! The selector that a device will send for a manifest, from the stable answers that it told ahead.

use alloc::vec::Vec;

use minicbor::bytes::ByteSlice;
use thiserror::Error;

use super::selector::{Answers, ScopeAnswers, Selector, StableAnswers, salted_digest};
use super::{Digest, List, MessageError};
use crate::cbor::{self, EncodeError};
use crate::definition::{Definition, Item, Method, is_volatile};

/// Why a device's selector can't be told ahead. It can still ask for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The device has not told a required answer: it will refuse the manifest.
    #[error("the device has not told its answer {id}, which the manifest requires")]
    Missing {
        /// Id of the characteristic.
        id: i64,
    },
    /// The device must sign its requests, so no grant is found by its selector alone.
    #[error("the manifest asks for requests that are signed")]
    Signed,
    /// The definition has more scopes or answers than a selector.
    #[error("the definition is out of the bounds of a selector")]
    Message(#[from] MessageError),
    /// The selector breaks a bound.
    #[error("the selector can't be written")]
    Encode(#[from] EncodeError),
}

/// Writes the selector that a device will send: every scope of the definition in its order, answered as the device told.
/// Volatile answers are left out, as they are in every selector.
///
/// # Errors
///
/// [`PredictError`]; the device then has to ask.
pub fn selector(
    definition: &Definition<'_>,
    told: &StableAnswers<'_>,
    manifest: &Digest,
) -> Result<Vec<u8>, PredictError> {
    if definition.options().authentication == Some(SIGN1) {
        return Err(PredictError::Signed);
    }
    let mut collected: Vec<Scope<Vec<u8>>> = Vec::new();
    for scope in definition.scopes() {
        let component = scope.component.map(u32::try_from).transpose();
        let component = component.map_err(|_| EncodeError::Invalid)?;
        let mut answers = Vec::new();
        for item in scope.items().filter(|item| !is_volatile(item.id)) {
            match told.answer(component, item.id) {
                Some(value) => answers.push((item.id, written(&item, value, manifest)?)),
                None if item.required => return Err(PredictError::Missing { id: item.id }),
                None => {}
            }
        }
        collected.push((component, answers));
    }
    let borrowed: Vec<Scope<&[u8]>> = collected
        .iter()
        .map(|(component, answers)| {
            (*component, answers.iter().map(|(id, value)| (*id, &value[..])).collect())
        })
        .collect();
    let mut scopes = Vec::with_capacity(borrowed.len());
    for (component, answers) in &borrowed {
        scopes.push(ScopeAnswers { component: *component, answers: Answers::new(answers)? });
    }
    Ok(cbor::to_vec(&Selector { manifest, scopes: List::new(&scopes) })?)
}

/// A component, or the whole device, with its answers by id.
type Scope<V> = (Option<u32>, Vec<(i64, V)>);

/// Writes an answer by the method that the item asks for.
fn written(item: &Item, value: &[u8], manifest: &Digest) -> Result<Vec<u8>, EncodeError> {
    match item.method {
        Method::Raw => Ok(value.to_vec()),
        Method::Digest => {
            let digest = salted_digest(manifest, item.id, value);
            cbor::to_vec(&<&ByteSlice>::from(&digest[..]))
        }
    }
}

/// Request authentication by a device key.
const SIGN1: u64 = 2;
