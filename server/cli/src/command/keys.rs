//! `bellwether keys`: signing keys, and the anchors that say whose signatures count.

use std::path::{Path, PathBuf};

use bellwether_api::Distributor;
use bellwether_manifests::anchors::{
    Anchors, AnchorsDraft, AnchorsError, Count, RoleDraft, RoleName, cosign,
};
use bellwether_manifests::author::vendor_id;
use bellwether_manifests::cose::{Algorithm, PrivateKey, PublicKey};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;

use crate::client::{Client, Server};
use crate::failure::{Failure, with_causes};
use crate::file::{self, Access};
use crate::key_file::{self, KeyFile};
use crate::output::Output;
use crate::system;

/// Keys and anchors.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a signing key (offline)
    ///
    /// Writes the private key to FILE (PKCS#8 PEM, mode 0600) and its public half beside it with the extension
    /// .pub. Nothing is overwritten. Keep the root key apart from everything else: whoever has it decides whom
    /// your devices believe.
    ///
    ///   bellwether keys new root.key       # root.key and root.pub
    ///   bellwether keys new author.key     # author.key and author.pub
    #[command(verbatim_doc_comment)]
    New {
        /// Where the private key goes, e.g. author.key
        file: PathBuf,
    },
    /// Shows the id of a private or public key and its public half (offline)
    Show {
        /// PEM file
        file: PathBuf,
    },
    /// Asks the server for the key that it signs grants with, for `keys anchors`
    Distributor {
        /// Where the public key goes, e.g. distributor.pub
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Makes and signs the anchors: whom your devices believe (offline)
    ///
    /// Root keys sign the next anchors, authors sign manifests, the distributor (your server) signs grants.
    ///
    ///   bellwether keys anchors --vendor example.com --root root.key --author author.pub \
    ///       --distributor distributor.pub --out anchors.cose
    ///
    /// Root keys that are kept elsewhere are listed by their public halves, and their holders sign later. Anchors that
    /// replace others need enough of the old root keys too:
    ///
    ///   bellwether keys anchors … --edition 2 --root a.key --root b.pub --threshold root=2 \
    ///       --replacing anchors.cose --sign-with root.key --out next.cose
    ///   bellwether keys sign-anchors next.cose --key b.key --replacing anchors.cose --out signed.cose
    #[command(verbatim_doc_comment)]
    Anchors(AnchorsRequest),
    /// Adds signatures of root keys to anchors (offline)
    ///
    /// The file is not changed: the document with the new signatures goes to --out. Says how many are missing.
    SignAnchors(SignRequest),
    /// Hands anchors to the server, which gives them to every device that it enrols from then on, and brings them to
    /// the devices and gateways that it knows
    Trust {
        /// Signed anchors, from `keys anchors`
        file: PathBuf,
    },
}

/// What the anchors shall say.
#[derive(Args, Debug)]
pub(crate) struct AnchorsRequest {
    /// Domain of the vendor they speak for, as in the manifests
    #[arg(long, value_name = "DOMAIN")]
    vendor: String,
    /// Root key; several as needed. Those whose private key it is sign now
    #[arg(long, required = true, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Another private key that signs, such as a root key of the anchors that these replace
    #[arg(long, value_name = "FILE")]
    sign_with: Vec<PathBuf>,
    /// The anchors that these replace: their root keys must sign too
    #[arg(long, value_name = "FILE")]
    replacing: Option<PathBuf>,
    /// Keys of a role that must sign together, e.g. root=2; a number alone is for the root keys [default: 1 each]
    #[arg(long, value_name = "[ROLE=]N", value_parser = threshold)]
    threshold: Vec<(RoleName, u64)>,
    /// Public key of an author; several may each sign alone, or together with --threshold author=N
    #[arg(long, required = true, value_name = "FILE")]
    author: Vec<PathBuf>,
    /// Public key of the server, from `keys distributor`; several may each sign alone
    #[arg(long, required = true, value_name = "FILE")]
    distributor: Vec<PathBuf>,
    /// Component that the authors may sign for; several as needed
    #[arg(long, default_value = "app", value_name = "NAME")]
    component: Vec<String>,
    /// Number of these anchors; only a higher one replaces others
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    edition: u64,
    /// Where the anchors go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Whose signatures are added to which anchors.
#[derive(Args, Debug)]
pub(crate) struct SignRequest {
    /// Anchors, from `keys anchors`
    file: PathBuf,
    /// Private root key; several as needed
    #[arg(long, required = true, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The anchors that these replace: their root keys must sign too
    #[arg(long, value_name = "FILE")]
    replacing: Option<PathBuf>,
    /// Where the signed anchors go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A key, for scripts.
#[derive(Serialize)]
struct Key {
    file: PathBuf,
    kind: &'static str,
    kid: String,
    public: String,
}

/// Signed anchors, for scripts.
#[derive(Serialize)]
struct Signed {
    file: PathBuf,
    edition: u64,
    vendor: String,
    root: Vec<String>,
    threshold: u64,
    author: Vec<String>,
    distributor: Vec<String>,
    missing: Missing,
}

/// Signatures that anchors still need, for scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Missing {
    /// Of their own root keys.
    own: u64,
    /// Of the root keys of the anchors that they replace; unknown without --replacing.
    replaced: Option<u64>,
}

/// Anchors after a signature, for scripts.
#[derive(Serialize)]
struct CoSigned {
    file: PathBuf,
    edition: u64,
    missing: Missing,
}

impl AnchorsRequest {
    /// The threshold of a role: the last that was named, else 1.
    fn threshold_of(&self, role: RoleName) -> u64 {
        let named = self.threshold.iter().rev().find(|(name, _)| *name == role);
        named.map_or(1, |(_, threshold)| *threshold)
    }
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    match command {
        Command::New { file } => {
            let (public, beside) = key_file::make(&file)?;
            output.print(&describe_key(&file, "private", &public), |key| {
                let (file, beside) = (file.display(), beside.display());
                format!("Made key {}: {file} (private, keep it safe) and {beside} (public)", key.kid)
            });
            Ok(())
        }
        Command::Show { file } => {
            show(&file, output)?;
            Ok(())
        }
        Command::Distributor { out } => distributor(&Client::new(server)?, &out, output).await,
        Command::Anchors(request) => anchors(&request, output),
        Command::SignAnchors(request) => sign_anchors(&request, output),
        Command::Trust { file } => {
            let document = file::read(&file)?;
            let path = "/v1/anchors";
            let trusted: bellwether_api::Anchors =
                Client::new(server)?.upload(Method::PUT, path, &[], document).await?;
            output.print(&trusted, describe_trusted);
            Ok(())
        }
    }
}

fn show(file: &Path, output: Output) -> Result<(), Failure> {
    let key = KeyFile::read(file)?;
    let kind = match &key {
        KeyFile::Private(_) => "private",
        KeyFile::Public(_) => "public",
    };
    output.print(&describe_key(file, kind, &key.public()), |key| {
        format!("kind    {}\nid      {}\npublic  {}", key.kind, key.kid, key.public)
    });
    Ok(())
}

async fn distributor(client: &Client, out: &Path, output: Output) -> Result<(), Failure> {
    let answer: Distributor = client.get("/v1/distributor").await?;
    let key = hex::decode(&answer.public_key)
        .ok()
        .and_then(|key| PublicKey::parse(&key).ok())
        .ok_or_else(|| Failure::Usage("the server's distributor key is no P-256 COSE_Key".to_owned()))?;
    let pem = key.to_pem().map_err(|error| Failure::file(out, error))?;
    file::write_new(out, pem.as_bytes(), Access::Public)?;
    output.print(&describe_key(out, "public", &key), |key| {
        format!("Wrote the distributor's key {} to {}", key.kid, out.display())
    });
    Ok(())
}

fn anchors(request: &AnchorsRequest, output: Output) -> Result<(), Failure> {
    let root = each(&request.root, KeyFile::read)?;
    let draft = draft(request, &root, system::now()?)?;
    let held = root.into_iter().filter_map(|key| match key {
        KeyFile::Private(key) => Some(key),
        KeyFile::Public(_) => None,
    });
    let signing: Vec<PrivateKey> = held.chain(each(&request.sign_with, key_file::read_private)?).collect();
    if signing.is_empty() {
        let text = "no private key is named, so nobody signs: name one by --root or --sign-with";
        return Err(Failure::Usage(text.to_owned()));
    }
    let document = draft.sign_in_part(&signing).map_err(|error| Failure::Usage(with_causes(&error)))?;
    let (_, missing) = missing(&document, request.replacing.as_deref())?;
    file::write_new(&request.out, &document, Access::Public)?;
    output.print(&describe_signed(&draft, request, missing), |signed| {
        format!(
            "Signed anchors, edition {}, for {}: {}\n{}",
            signed.edition,
            request.vendor,
            signed.file.display(),
            what_next(&signed.file, signed.missing)
        )
    });
    Ok(())
}

fn sign_anchors(request: &SignRequest, output: Output) -> Result<(), Failure> {
    let document = file::read(&request.file)?;
    let keys = each(&request.key, key_file::read_private)?;
    let signed =
        cosign(&document, &keys).map_err(|error| Failure::file(&request.file, with_causes(&error)))?;
    let (edition, missing) = missing(&signed, request.replacing.as_deref())?;
    file::write_new(&request.out, &signed, Access::Public)?;
    let signed = CoSigned { file: request.out.clone(), edition, missing };
    output.print(&signed, |signed| {
        let file = signed.file.display();
        format!("Signed anchors, edition {edition}: {file}\n{}", what_next(&signed.file, signed.missing))
    });
    Ok(())
}

/// Tells the edition of anchors and the signatures that they still need; wrong ones are refused.
fn missing(document: &[u8], replacing: Option<&Path>) -> Result<(u64, Missing), Failure> {
    let refused = |error: AnchorsError| Failure::Usage(format!("the anchors: {}", with_causes(&error)));
    let old = replacing.map(file::read).transpose()?;
    let old = old.as_deref().map(Anchors::initial).transpose().map_err(refused)?;
    let standing = Anchors::standing(document, old.as_ref()).map_err(refused)?;
    if let Some(old) = &old {
        if standing.anchors.edition() <= old.edition() {
            let text = format!("edition {} is in force; choose a higher --edition", old.edition());
            return Err(Failure::Usage(text));
        }
        if standing.anchors.vendor() != old.vendor() {
            return Err(refused(AnchorsError::Vendor));
        }
    }
    let still = |count: Count| count.threshold.saturating_sub(count.signed);
    let missing = Missing { own: still(standing.own), replaced: standing.replaced.map(still) };
    Ok((standing.anchors.edition(), missing))
}

fn what_next(file: &Path, missing: Missing) -> String {
    let file = file.display();
    let add = format!("bellwether keys sign-anchors {file} --key KEY --out FILE");
    match (missing.own, missing.replaced.unwrap_or_default()) {
        (0, 0) => format!("Hand them to the server: bellwether keys trust {file}"),
        (own, 0) => format!("{own} more of their root keys must sign: {add}"),
        (0, old) => format!("{old} more root keys of the anchors that they replace must sign: {add}"),
        (own, old) => format!(
            "{own} more of their root keys must sign, and {old} more of the anchors that they replace: {add}"
        ),
    }
}

/// Reads `root=2` or `2`.
fn threshold(text: &str) -> Result<(RoleName, u64), String> {
    let (role, number) = text.split_once('=').unwrap_or(("root", text));
    let roles = [RoleName::Root, RoleName::Author, RoleName::Distributor];
    let role = roles.into_iter().find(|name| name.as_str() == role);
    let role = role.ok_or("the role is root, author or distributor")?;
    match number.parse() {
        Ok(number @ 1..) => Ok((role, number)),
        _ => Err("the threshold is a number from 1 on".to_owned()),
    }
}

fn draft(request: &AnchorsRequest, root: &[KeyFile], now: u64) -> Result<AnchorsDraft, Failure> {
    let role = |name, keys| RoleDraft {
        name,
        threshold: request.threshold_of(name),
        keys,
        components: Vec::new(),
        algorithms: vec![Algorithm::Esp256.label()],
    };
    let components = request.component.iter().map(|name| vec![name.clone().into_bytes()]);
    let root_keys = root.iter().map(KeyFile::public).collect();
    let authors = each(&request.author, key_file::read_public)?;
    let distributors = each(&request.distributor, key_file::read_public)?;
    if authors.iter().any(|author| distributors.contains(author)) {
        let text = "an author's key is a distributor's key too: then a stolen server could sign software";
        return Err(Failure::Usage(text.to_owned()));
    }
    let roles = vec![
        role(RoleName::Root, root_keys),
        RoleDraft { components: components.collect(), ..role(RoleName::Author, authors) },
        RoleDraft {
            algorithms: DISTRIBUTOR_ALGORITHMS.to_vec(),
            ..role(RoleName::Distributor, distributors)
        },
    ];
    Ok(AnchorsDraft { edition: request.edition, issued: now, vendor: vendor_id(&request.vendor), roles })
}

fn each<T>(files: &[PathBuf], read: impl Fn(&Path) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    files.iter().map(|file| read(file)).collect()
}

fn describe_key(file: &Path, kind: &'static str, key: &PublicKey) -> Key {
    Key { file: file.to_owned(), kind, kid: hex::encode(key.kid()), public: hex::encode(key.encode()) }
}

fn describe_signed(draft: &AnchorsDraft, request: &AnchorsRequest, missing: Missing) -> Signed {
    let keys = |name| {
        let roles = draft.roles.iter().filter(move |role| role.name == name);
        roles.flat_map(|role| &role.keys).map(|key| hex::encode(key.kid())).collect()
    };
    Signed {
        file: request.out.clone(),
        edition: draft.edition,
        vendor: hex::encode(draft.vendor),
        root: keys(RoleName::Root),
        threshold: request.threshold_of(RoleName::Root),
        missing,
        author: keys(RoleName::Author),
        distributor: keys(RoleName::Distributor),
    }
}

fn describe_trusted(trusted: &bellwether_api::Anchors) -> String {
    let edition =
        format!("The server trusts anchors edition {} of vendor {}.", trusted.edition, trusted.vendor);
    if trusted.lists_this_distributor {
        return edition;
    }
    format!(
        "{edition}\nThey do not list this server's key, so devices will refuse its grants. Make new ones, with a higher \
         --edition and the key of: bellwether keys distributor --out FILE"
    )
}

/// COSE numbers: ESP256; A256CTR, A128CTR; A256KW, A128KW.
const DISTRIBUTOR_ALGORITHMS: [i64; 5] = [-9, -65532, -65534, -5, -3];
