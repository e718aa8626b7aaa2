//! The queries of Register and Update.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use thiserror::Error;

use super::{Binding, BindingError, Endpoint, EndpointError, Version};

/// Lifetime of a client that names none, in seconds.
///
/// Source: LwM2M Core 1.2 §6.2.1.
pub const LIFETIME_DEFAULT_S: u32 = 86_400;

/// Queries of `POST /rd`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisterParameters {
    /// Query `ep`. From 1.1 on a client may leave it out where its credential names it.
    pub endpoint: Option<Endpoint>,
    /// Query `lt`, in seconds; 0 is for ever, which only 1.2 knows.
    pub lifetime_s: u32,
    /// Query `lwm2m`.
    pub version: Version,
    /// Query `b`.
    pub binding: Binding,
    /// Whether the client sleeps between its messages: query `Q`, in 1.0 the letter of the binding.
    pub queue_mode: bool,
    /// Query `sms`: number to wake the client by.
    pub sms: Option<String>,
}

/// Queries of `POST /rd/<id>`; what is `None` stays as it was registered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpdateParameters {
    /// Query `lt`, in seconds.
    pub lifetime_s: Option<u32>,
    /// Query `b`.
    pub binding: Option<Binding>,
    /// Query `Q`, or the letter of a 1.0 binding. From 1.1 on `Some(true)` or `None`, since a query that is
    /// absent says nothing.
    pub queue_mode: Option<bool>,
    /// Query `sms`.
    pub sms: Option<String>,
}

/// Why queries are no registration. Answer with 4.00, or 4.12 for [`QueryError::Version`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum QueryError {
    /// A query is no UTF-8.
    #[error("a query is not UTF-8")]
    NotUtf8,
    /// A known query stands twice.
    #[error("query {0} stands twice")]
    Repeated(&'static str),
    /// `ep` is missing in 1.0, where it is mandatory.
    #[error("query ep is missing")]
    EndpointMissing,
    /// `ep` is no endpoint name.
    #[error("query ep: {0}")]
    Endpoint(EndpointError),
    /// `lwm2m` is missing.
    #[error("query lwm2m is missing")]
    VersionMissing,
    /// `lwm2m` is none that this server speaks.
    #[error("query lwm2m is none of 1.0, 1.1, 1.2")]
    Version,
    /// `lt` is no number of seconds that the version allows.
    #[error("query lt is not a number of seconds")]
    Lifetime,
    /// `b` is no binding of the version.
    #[error("query b: {0}")]
    Binding(BindingError),
    /// `sms` is no telephone number.
    #[error("query sms is not 1 to 15 digits after an optional plus sign")]
    Sms,
}

impl RegisterParameters {
    /// Reads the Uri-Query options of a Register; unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// [`QueryError`], which names the query.
    pub fn parse<I>(queries: I) -> Result<Self, QueryError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let raw = RawQueries::read(queries)?;
        let version: Version = raw.version.as_deref().ok_or(QueryError::VersionMissing)?.parse()?;
        let endpoint = raw.endpoint.as_deref().map(str::parse).transpose().map_err(QueryError::Endpoint)?;
        if endpoint.is_none() && version == Version::V1_0 {
            return Err(QueryError::EndpointMissing);
        }
        let binding = raw.binding(version)?.unwrap_or(Binding::UDP);
        Ok(Self {
            endpoint,
            lifetime_s: raw.lifetime(version)?.unwrap_or(LIFETIME_DEFAULT_S),
            version,
            binding,
            queue_mode: binding.is_queue_mode() || raw.queue_mode(version),
            sms: raw.sms()?,
        })
    }

    /// Writes the queries, each as one Uri-Query option.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        let mut queries = Vec::new();
        queries.extend(self.endpoint.as_ref().map(|endpoint| format!("ep={endpoint}")));
        queries.push(format!("lt={}", self.lifetime_s));
        queries.push(format!("lwm2m={}", self.version));
        queries.push(format!("b={}", self.binding));
        if self.queue_mode && self.version > Version::V1_0 {
            queries.push("Q".to_string());
        }
        queries.extend(self.sms.as_ref().map(|number| format!("sms={number}")));
        queries
    }
}

impl UpdateParameters {
    /// Reads the Uri-Query options of an Update of a registration of `version`; unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// [`QueryError`], which names the query.
    pub fn parse<I>(version: Version, queries: I) -> Result<Self, QueryError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let raw = RawQueries::read(queries)?;
        let binding = raw.binding(version)?;
        let queue_mode = match version {
            Version::V1_0 => binding.map(Binding::is_queue_mode),
            Version::V1_1 | Version::V1_2 => raw.queue_mode(version).then_some(true),
        };
        Ok(Self { lifetime_s: raw.lifetime(version)?, binding, queue_mode, sms: raw.sms()? })
    }

    /// Writes the queries, each as one Uri-Query option.
    #[must_use]
    pub fn queries(&self, version: Version) -> Vec<String> {
        let mut queries = Vec::new();
        queries.extend(self.lifetime_s.map(|seconds| format!("lt={seconds}")));
        queries.extend(self.binding.map(|binding| format!("b={binding}")));
        if self.queue_mode == Some(true) && version > Version::V1_0 {
            queries.push("Q".to_string());
        }
        queries.extend(self.sms.as_ref().map(|number| format!("sms={number}")));
        queries
    }
}

/// The known queries as text, each at most once.
#[derive(Default)]
struct RawQueries {
    endpoint: Option<String>,
    lifetime: Option<String>,
    version: Option<String>,
    binding: Option<String>,
    queue: Option<String>,
    sms: Option<String>,
}

impl RawQueries {
    fn read<I>(queries: I) -> Result<Self, QueryError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut raw = Self::default();
        for query in queries {
            let query = core::str::from_utf8(query.as_ref()).map_err(|_| QueryError::NotUtf8)?;
            let (name, value) = query.split_once('=').unwrap_or((query, ""));
            let (name, slot) = match name {
                "ep" => ("ep", &mut raw.endpoint),
                "lt" => ("lt", &mut raw.lifetime),
                "lwm2m" => ("lwm2m", &mut raw.version),
                "b" => ("b", &mut raw.binding),
                "Q" => ("Q", &mut raw.queue),
                "sms" => ("sms", &mut raw.sms),
                _ => continue,
            };
            if slot.replace(value.to_string()).is_some() {
                return Err(QueryError::Repeated(name));
            }
        }
        Ok(raw)
    }

    fn lifetime(&self, version: Version) -> Result<Option<u32>, QueryError> {
        let Some(text) = &self.lifetime else {
            return Ok(None);
        };
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|_| is_number).ok_or(QueryError::Lifetime)?;
        if seconds == 0 && version < Version::V1_2 {
            return Err(QueryError::Lifetime);
        }
        Ok(Some(seconds))
    }

    fn binding(&self, version: Version) -> Result<Option<Binding>, QueryError> {
        let parse = |text: &String| Binding::parse(version, text);
        self.binding.as_ref().map(parse).transpose().map_err(QueryError::Binding)
    }

    /// 1.0 does not know the query, so there it is one of the unknown ones.
    fn queue_mode(&self, version: Version) -> bool {
        self.queue.is_some() && version > Version::V1_0
    }

    fn sms(&self) -> Result<Option<String>, QueryError> {
        let Some(number) = &self.sms else {
            return Ok(None);
        };
        let digits = number.strip_prefix('+').unwrap_or(number);
        if digits.is_empty()
            || digits.len() > MSISDN_DIGITS_MAX
            || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(QueryError::Sms);
        }
        Ok(Some(number.clone()))
    }
}

/// ITU-T E.164.
const MSISDN_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn register(queries: &[&str]) -> Result<RegisterParameters, QueryError> {
        RegisterParameters::parse(queries)
    }

    #[test]
    fn queries_of_our_agent_come_back_in_their_order() {
        let queries = ["ep=lamp-1", "lt=300", "lwm2m=1.1", "b=U"];
        assert_eq!(register(&queries).unwrap().queries(), queries);
    }

    #[test]
    fn client_that_names_only_its_version_gets_the_defaults() {
        let parameters = register(&["lwm2m=1.1"]).unwrap();
        assert_eq!(parameters.endpoint, None);
        assert_eq!((parameters.lifetime_s, parameters.binding), (86_400, Binding::UDP));
        assert!(!parameters.queue_mode);
    }

    #[test]
    fn unknown_queries_are_ignored() {
        let with = register(&["ep=a", "lwm2m=1.2", "pid=7", "x", "=y"]).unwrap();
        assert_eq!(with, register(&["ep=a", "lwm2m=1.2"]).unwrap());
    }

    #[test]
    fn each_fault_is_told_with_the_query_that_has_it() {
        let refused = [
            (&["ep=a"][..], QueryError::VersionMissing),
            (&["ep=a", "lwm2m=2.0"], QueryError::Version),
            (&["ep=a", "lwm2m=1"], QueryError::Version),
            (&["lwm2m=1.0"], QueryError::EndpointMissing),
            (&["lwm2m=1.1", "ep="], QueryError::Endpoint(EndpointError::Empty)),
            (&["lwm2m=1.1", "ep=a", "ep=b"], QueryError::Repeated("ep")),
            (&["lwm2m=1.1", "lt=-1"], QueryError::Lifetime),
            (&["lwm2m=1.1", "lt=+1"], QueryError::Lifetime),
            (&["lwm2m=1.1", "lt="], QueryError::Lifetime),
            (&["lwm2m=1.1", "lt=0"], QueryError::Lifetime),
            (&["lwm2m=1.1", "lt=4294967296"], QueryError::Lifetime),
            (&["lwm2m=1.1", "b=UQ"], QueryError::Binding(BindingError::UnknownTransport('Q'))),
            (&["lwm2m=1.0", "ep=a", "b=T"], QueryError::Binding(BindingError::NotOfVersion1_0)),
            (&["lwm2m=1.1", "sms=0;1"], QueryError::Sms),
        ];
        for (queries, error) in refused {
            assert_eq!(register(queries), Err(error), "{queries:?}");
        }
        assert_eq!(RegisterParameters::parse([&[b'e', b'p', b'=', 0xff][..]]), Err(QueryError::NotUtf8));
    }

    #[test]
    fn lifetime_without_end_is_for_1_2_only() {
        assert_eq!(register(&["lwm2m=1.2", "lt=0"]).unwrap().lifetime_s, 0);
    }

    #[test]
    fn queue_mode_is_a_letter_in_1_0_and_a_query_later() {
        assert!(register(&["lwm2m=1.0", "ep=a", "b=UQ"]).unwrap().queue_mode);
        assert!(!register(&["lwm2m=1.0", "ep=a", "b=U", "Q"]).unwrap().queue_mode);
        assert!(register(&["lwm2m=1.1", "b=U", "Q"]).unwrap().queue_mode);
    }

    #[test]
    fn update_without_queries_changes_nothing() {
        let nothing: [&str; 0] = [];
        assert_eq!(UpdateParameters::parse(Version::V1_1, nothing), Ok(UpdateParameters::default()));
    }

    #[test]
    fn update_says_what_it_changes() {
        let update = UpdateParameters::parse(Version::V1_1, ["lt=60", "b=UT", "Q", "ep=ignored"]).unwrap();
        assert_eq!((update.lifetime_s, update.queue_mode), (Some(60), Some(true)));
        assert_eq!(update.queries(Version::V1_1), ["lt=60", "b=UT", "Q"]);
        let update = UpdateParameters::parse(Version::V1_0, ["b=U"]).unwrap();
        assert_eq!(update.queue_mode, Some(false));
    }

    proptest! {
        #[test]
        fn any_queries_are_parameters_that_read_the_same_again_or_refused(
            queries in proptest::collection::vec(
                "(ep|lt|lwm2m|b|Q|sms|x)=?.{0,4}|lwm2m=1\\.[0-3]|b=[UTSNQ]{1,3}|lt=[0-9]{1,11}|sms=\\+?[0-9]{0,17}",
                0..6,
            ),
        ) {
            if let Ok(parameters) = RegisterParameters::parse(&queries) {
                prop_assert_eq!(RegisterParameters::parse(parameters.queries()), Ok(parameters));
            }
            for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
                if let Ok(update) = UpdateParameters::parse(version, &queries) {
                    prop_assert_eq!(UpdateParameters::parse(version, update.queries(version)), Ok(update));
                }
            }
        }

        #[test]
        fn any_bytes_are_parameters_or_refused(
            queries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 0..6),
        ) {
            if let Ok(parameters) = RegisterParameters::parse(&queries) {
                prop_assert!(parameters.endpoint.is_some() || parameters.version > Version::V1_0);
            }
        }
    }
}
