//! What can be out of its bounds in a message.

use thiserror::Error;

/// A part of a message, named where it breaks a bound. By number, since a device has no use for its words.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// DTLS identity of a gateway's link.
    #[error("DTLS identity of a gateway's link")]
    DTLSIdentityOfAGatewaysLink,
    /// Anchors.
    #[error("anchors")]
    Anchors,
    /// Answer.
    #[error("answer")]
    Answer,
    /// Answer that comes twice.
    #[error("answer that comes twice")]
    AnswerThatComesTwice,
    /// Bundle.
    #[error("bundle")]
    Bundle,
    /// Campaign.
    #[error("campaign")]
    Campaign,
    /// Chain.
    #[error("chain")]
    Chain,
    /// Component.
    #[error("component")]
    Component,
    /// Component that comes twice.
    #[error("component that comes twice")]
    ComponentThatComesTwice,
    /// Confirm.
    #[error("confirm")]
    Confirm,
    /// Content.
    #[error("content")]
    Content,
    /// Detail.
    #[error("detail")]
    Detail,
    /// Digest algorithm of the chain.
    #[error("digest algorithm of the chain")]
    DigestAlgorithmOfTheChain,
    /// Echo.
    #[error("echo")]
    Echo,
    /// Gateway.
    #[error("gateway")]
    Gateway,
    /// Initialisation vector.
    #[error("initialisation vector")]
    InitialisationVector,
    /// Inline content.
    #[error("inline content")]
    InlineContent,
    /// Key.
    #[error("key")]
    Key,
    /// Location.
    #[error("location")]
    Location,
    /// Moment.
    #[error("moment")]
    Moment,
    /// Name.
    #[error("name")]
    Name,
    /// Number of answers.
    #[error("number of answers")]
    NumberOfAnswers,
    /// Number of children.
    #[error("number of children")]
    NumberOfChildren,
    /// Number of descriptors.
    #[error("number of descriptors")]
    NumberOfDescriptors,
    /// Number of distributors.
    #[error("number of distributors")]
    NumberOfDistributors,
    /// Number of elements in a grant.
    #[error("number of elements in a grant")]
    NumberOfElementsInAGrant,
    /// Number of elements in a resource.
    #[error("number of elements in a resource")]
    NumberOfElementsInAResource,
    /// Number of elements in a verdict.
    #[error("number of elements in a verdict")]
    NumberOfElementsInAVerdict,
    /// Number of elements in an answer.
    #[error("number of elements in an answer")]
    NumberOfElementsInAnAnswer,
    /// Number of endpoints.
    #[error("number of endpoints")]
    NumberOfEndpoints,
    /// Number of gateways.
    #[error("number of gateways")]
    NumberOfGateways,
    /// Number of grants.
    #[error("number of grants")]
    NumberOfGrants,
    /// Number of held contents.
    #[error("number of held contents")]
    NumberOfHeldContents,
    /// Number of hints.
    #[error("number of hints")]
    NumberOfHints,
    /// Number of locations.
    #[error("number of locations")]
    NumberOfLocations,
    /// Number of options.
    #[error("number of options")]
    NumberOfOptions,
    /// Number of resources.
    #[error("number of resources")]
    NumberOfResources,
    /// Number of scopes.
    #[error("number of scopes")]
    NumberOfScopes,
    /// Number of servers.
    #[error("number of servers")]
    NumberOfServers,
    /// Number of volatile scopes.
    #[error("number of volatile scopes")]
    NumberOfVolatileScopes,
    /// Number of windows.
    #[error("number of windows")]
    NumberOfWindows,
    /// Option 2 with confirm 1.
    #[error("option 2 with confirm 1")]
    Option2WithConfirm1,
    /// Order of the children.
    #[error("order of the children")]
    OrderOfTheChildren,
    /// Patch of a full image.
    #[error("patch of a full image")]
    PatchOfAFullImage,
    /// Patch parameters.
    #[error("patch parameters")]
    PatchParameters,
    /// Patch that a delta must have.
    #[error("patch that a delta must have")]
    PatchThatADeltaMustHave,
    /// Report.
    #[error("report")]
    Report,
    /// Request.
    #[error("request")]
    Request,
    /// Scope that comes twice.
    #[error("scope that comes twice")]
    ScopeThatComesTwice,
    /// Selector.
    #[error("selector")]
    Selector,
    /// Stable answer outside of the selector.
    #[error("stable answer outside of the selector")]
    StableAnswerOutsideOfTheSelector,
    /// Stable answers.
    #[error("stable answers")]
    StableAnswers,
    /// Text of a reason.
    #[error("text of a reason")]
    TextOfAReason,
    /// Volatile answer in the selector.
    #[error("volatile answer in the selector")]
    VolatileAnswerInTheSelector,
    /// Volatile scope that comes twice.
    #[error("volatile scope that comes twice")]
    VolatileScopeThatComesTwice,
    /// Window.
    #[error("window")]
    Window,
    /// Wrapped key.
    #[error("wrapped key")]
    WrappedKey,
    /// Server.
    #[error("server")]
    Server,
}
