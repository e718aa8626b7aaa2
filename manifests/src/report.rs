//! SUIT_Report: what became of an update.
//!
//! Source: draft-ietf-suit-report-18.

/// Why an update ended as it did: the reason numbers of SUIT_Report.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// 0: it succeeded.
    Ok,
    /// 1: not parsed.
    CborParse,
    /// 2: COSE structure not supported.
    CoseUnsupported,
    /// 3: algorithm not supported.
    AlgorithmUnsupported,
    /// 4: signature or MAC wrong, or of nobody who may.
    Unauthorised,
    /// 5: command not supported.
    CommandUnsupported,
    /// 6: component not supported.
    ComponentUnsupported,
    /// 7: the signer may not touch this component.
    ComponentUnauthorised,
    /// 8: parameter not supported.
    ParameterUnsupported,
    /// 9: a severed element is missing or differs.
    SeveringUnsupported,
    /// 10: a condition was not fulfilled.
    ConditionFailed,
    /// 11: fetching, patching, decrypting or writing failed.
    OperationFailed,
    /// 12: installed, not yet started.
    InvokePending,
}
