//! `bellwether keys`: signing keys, and the anchors that say whose signatures count.

use std::path::{Path, PathBuf};

use bellwether_api::{Anchors, Distributor};
use bellwether_manifests::anchors::{AnchorsDraft, RoleDraft, RoleName};
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
    #[command(verbatim_doc_comment)]
    Anchors(AnchorsRequest),
    /// Hands anchors to the server, which gives them to every device that it enrols from then on
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
    /// Private root key; several sign together
    #[arg(long, required = true, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Root keys that the next anchors need at least
    #[arg(long, default_value_t = 1, value_name = "N")]
    threshold: u64,
    /// Public key of an author; several may each sign alone
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
        Command::Trust { file } => {
            let document = file::read(&file)?;
            let path = "/v1/anchors";
            let trusted: Anchors = Client::new(server)?.upload(Method::PUT, path, &[], document).await?;
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
    let root = each(&request.root, key_file::read_private)?;
    let draft = draft(request, &root, system::now()?)?;
    let document = draft.sign(&root).map_err(|error| Failure::Usage(with_causes(&error)))?;
    file::write_new(&request.out, &document, Access::Public)?;
    output.print(&describe_signed(&draft, request), |signed| {
        format!(
            "Signed anchors, edition {}, for {}: {}\nHand them to the server: bellwether keys trust {}",
            signed.edition,
            request.vendor,
            signed.file.display(),
            signed.file.display()
        )
    });
    Ok(())
}

fn draft(request: &AnchorsRequest, root: &[PrivateKey], now: u64) -> Result<AnchorsDraft, Failure> {
    let role = |name, keys| RoleDraft {
        name,
        threshold: 1,
        keys,
        components: Vec::new(),
        algorithms: vec![Algorithm::Esp256.label()],
    };
    let components = request.component.iter().map(|name| vec![name.clone().into_bytes()]);
    let root_keys = root.iter().map(PrivateKey::public).collect();
    let authors = each(&request.author, key_file::read_public)?;
    let distributors = each(&request.distributor, key_file::read_public)?;
    if authors.iter().any(|author| distributors.contains(author)) {
        let text = "an author's key is a distributor's key too: then a stolen server could sign software";
        return Err(Failure::Usage(text.to_owned()));
    }
    let roles = vec![
        RoleDraft { threshold: request.threshold, ..role(RoleName::Root, root_keys) },
        RoleDraft { components: components.collect(), ..role(RoleName::Author, authors) },
        RoleDraft {
            algorithms: DISTRIBUTOR_ALGORITHMS.to_vec(),
            ..role(RoleName::Distributor, distributors)
        },
    ];
    Ok(AnchorsDraft { edition: request.edition, issued: now, vendor: vendor_id(&request.vendor), roles })
}

fn each<T>(files: &[PathBuf], read: fn(&Path) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    files.iter().map(|file| read(file)).collect()
}

fn describe_key(file: &Path, kind: &'static str, key: &PublicKey) -> Key {
    Key { file: file.to_owned(), kind, kid: hex::encode(key.kid()), public: hex::encode(key.encode()) }
}

fn describe_signed(draft: &AnchorsDraft, request: &AnchorsRequest) -> Signed {
    let keys = |name| {
        let roles = draft.roles.iter().filter(move |role| role.name == name);
        roles.flat_map(|role| &role.keys).map(|key| hex::encode(key.kid())).collect()
    };
    Signed {
        file: request.out.clone(),
        edition: draft.edition,
        vendor: hex::encode(draft.vendor),
        root: keys(RoleName::Root),
        threshold: request.threshold,
        author: keys(RoleName::Author),
        distributor: keys(RoleName::Distributor),
    }
}

fn describe_trusted(trusted: &Anchors) -> String {
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
