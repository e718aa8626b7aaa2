//! Connecting: over TLS unless it is on this machine, with settings that hold what the store promises, migrated.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;

use super::lease::Lease;
use super::line::{Pool, silent};
use super::turn::Turns;
use super::{PostgresStore, fault, migrate};
use crate::bounds::{
    ANSWER_WAIT_MS, CONNECTION_WAIT_MS, IDLE_TRANSACTION_MS, OPENING_WAITS_MAX, READERS_MAX,
    SCHEMA_LOCK_WAIT_MS, STATEMENT_WAIT_MS, WRITERS_MAX,
};
use crate::error::{OpenError, Schema, taken_by};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

pub(super) async fn open(url: &str) -> Result<PostgresStore, OpenError> {
    open_with(url, Arc::default()).await
}

/// Opens it; `vanished` is told whenever the data base does not answer.
async fn open_with(url: &str, vanished: Arc<Notify>) -> Result<PostgresStore, OpenError> {
    let options = options(url)?;
    let name = shown(&options);
    let writer = connected(&name, options.clone(), WRITERS_MAX).await?;
    let mut connection = writer.acquire().await.map_err(|cause| unreachable(&name, cause))?;
    let found = check(&name, &mut connection).await?;
    drop(connection);
    migrate::migrate(&name, &writer, found, Duration::from_millis(SCHEMA_LOCK_WAIT_MS)).await?;
    let readers = connected(&name, options, READERS_MAX).await?;
    let (writer, readers) = (Pool::new(writer, Arc::clone(&vanished)), Pool::new(readers, vanished));
    Ok(PostgresStore { writer, readers, found, turns: Turns::default(), lease: None })
}

/// Opens it under a lease, which is taken before anything is brought up to date.
pub(super) async fn serve(url: &str) -> Result<PostgresStore, OpenError> {
    let options = options(url)?;
    let name = shown(&options);
    let lease = Lease::take(options).await.map_err(|cause| unreachable(&name, cause))?;
    let lease = lease.ok_or_else(|| OpenError::InUse { store: name.clone() })?;
    let store = open_with(url, lease.vanished()).await?;
    lease.begin_term(&store.writer).await.map_err(|cause| unreachable(&name, cause))?;
    Ok(PostgresStore { lease: Some(Arc::new(lease)), ..store })
}

/// Connects and looks which schema is there.
pub(super) async fn schema(url: &str) -> Result<Schema, OpenError> {
    let options = options(url)?;
    let name = shown(&options);
    let pool = connected(&name, options, 1).await?;
    let mut connection = pool.acquire().await.map_err(|cause| unreachable(&name, cause))?;
    let schema = check(&name, &mut connection).await;
    drop(connection);
    pool.close().await;
    schema
}

async fn connected(name: &str, options: PgConnectOptions, connections_max: u32) -> Result<PgPool, OpenError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_millis(CONNECTION_WAIT_MS))
        .connect_lazy_with(options);
    // No device waits for the first one, and a data base that starts as this server does is slow to answer.
    let mut waits = 1;
    loop {
        match pool.acquire().await {
            Ok(_) => return Ok(pool),
            Err(sqlx::Error::PoolTimedOut) if waits < OPENING_WAITS_MAX => waits += 1,
            Err(cause) => return Err(unreachable(name, cause)),
        }
    }
}

/// Reads the URL and adds what the store relies on.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    // The library leaves them out, and shows their values in the log: one that asks for more safety would be missed. It is
    // not named, since what stands behind a question mark may be half of a password.
    if parameters(url).any(|name| !PARAMETERS.contains(&name)) {
        let known = PARAMETERS.join(", ");
        return Err(OpenError::Url {
            reason: format!("behind ? it may have {known}, and has another parameter"),
        });
    }
    // What is wrong with it is said without it: it may hold a password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|cause| OpenError::Url { reason: cause.to_string().replace(url, "the URL") })?;
    let options = options.application_name("bellwether-server").options([
        // A data base or a role that is set up to acknowledge before the disk has it would lose what we acknowledge.
        ("synchronous_commit", "on".to_owned()),
        ("statement_timeout", STATEMENT_WAIT_MS.to_string()),
        // A plan is kept while its table grows, also that by which PostgreSQL looks for the row which another refers to. Made
        // for fifty rows it goes through all of them, and an import of a million devices would then do so for each.
        ("enable_seqscan", "off".to_owned()),
        // It would compile for a second what takes a millisecond, wherever a small table has no index to go by.
        ("jit", "off".to_owned()),
        // A server that vanished in a transaction must not keep the others from writing.
        ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_MS.to_string()),
        // One whose machine vanished must not keep its locks either: it is missed within half a minute. In seconds.
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ]);
    // The library keeps the brackets of a URL, and looks them up.
    let address = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let options = match address.map(str::to_owned) {
        Some(address) => options.host(&address),
        None => options,
    };
    Ok(if names_ssl_mode(url) || is_near(&options) {
        options
    } else {
        options.ssl_mode(PgSslMode::VerifyFull)
    })
}

fn names_ssl_mode(url: &str) -> bool {
    parameters(url).any(|name| name == "sslmode")
}

/// Names the parameters of a URL.
fn parameters(url: &str) -> impl Iterator<Item = &str> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let named = parameters.split('&').map(|parameter| parameter.split('=').next().unwrap_or_default());
    named.filter(|name| !name.is_empty())
}

/// Those of libpq's that are understood.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// Tells whether what is said to the data base stays on this machine.
fn is_near(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Names the data base without user or password.
fn shown(options: &PgConnectOptions) -> String {
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let base = options.get_database().unwrap_or_else(|| options.get_username());
    format!("the PostgreSQL data base {base} at {host}:{}", options.get_port())
}

/// Refuses a data base that another program or a later server uses, before anything is written to it.
async fn check(name: &str, connection: &mut PgConnection) -> Result<Schema, OpenError> {
    let looked = tokio::time::timeout(Duration::from_millis(2 * ANSWER_WAIT_MS), look(name, connection));
    looked.await.unwrap_or_else(|_| Err(unreachable(name, silent())))
}

async fn look(name: &str, connection: &mut PgConnection) -> Result<Schema, OpenError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let (ours, tables): (bool, i64) = sqlx::query_as(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, \
         (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema())",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|cause| unreachable(name, cause))?;
    match (ours, tables) {
        (false, 0) => return Ok(Schema { found: None, known }),
        (false, _) => return Err(OpenError::Foreign { store: name.into() }),
        (true, _) => {}
    }
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT version, description FROM _sqlx_migrations ORDER BY version DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(|cause| unreachable(name, cause))?;
    match last {
        Some((found, description)) if found > known => {
            let by = taken_by(&description);
            Err(OpenError::Newer { store: name.into(), found, known, by })
        }
        last => Ok(Schema { found: last.map(|(found, _)| found), known }),
    }
}

pub(super) fn unreachable(name: &str, cause: sqlx::Error) -> OpenError {
    match fault::code(&cause).as_deref() {
        Some("3D000") => OpenError::NoDatabase { store: name.into() },
        Some("28P01" | "28000") => OpenError::Login { store: name.into() },
        _ => OpenError::Unreachable { store: name.into(), source: fault::fault(cause) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_data_base_must_show_its_certificate_unless_the_url_says_otherwise() {
        let mode = |url| options(url).unwrap().get_ssl_mode();
        assert!(matches!(mode("postgres://b@db.example/b"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://b@192.0.2.1/b"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://b@db.example/b?sslmode=require"), PgSslMode::Require));
        for near in ["postgres://b@localhost/b", "postgres://b@[::1]/b", "postgres:///b?host=/run/postgresql"]
        {
            assert!(matches!(mode(near), PgSslMode::Prefer), "{near}");
        }
    }

    #[test]
    fn address_in_brackets_is_connected_to_without_them() {
        let options = options("postgres://b@[::1]:5433/b").unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
    }

    #[test]
    fn parameter_that_would_be_left_out_is_refused_without_its_value() {
        let refused =
            options("postgres://b@db.example/b?sslmode=require&sslpassword=s3cret").unwrap_err().to_string();
        assert!(refused.contains("another parameter") && !refused.contains("s3cret"), "{refused}");
        assert!(options("postgres://b@db.example/b?").is_ok());
    }

    #[test]
    fn data_base_is_shown_without_its_password() {
        let options = options("postgres://bell:s3cret@db.example:5433/fleet").unwrap();
        assert_eq!(shown(&options), "the PostgreSQL data base fleet at db.example:5433");
        let refused = super::options("postgres://bell:s3cret@:x/y?sslmode=perhaps").unwrap_err().to_string();
        assert!(!refused.contains("s3cret"), "{refused}");
    }
}
