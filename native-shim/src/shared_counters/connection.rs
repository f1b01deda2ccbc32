//! Connections to a store of counters: one server, the master that Sentinels name, or a cluster.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode, Value,
};
use tidegate_core::limit::{CounterStore, StoreKind, StoreTls};

use crate::tls::{TlsError, TlsFiles};

/// How long a connection may take to be made. No request waits for so long.
const CONNECT: Duration = Duration::from_secs(2);

/// How long the nodes of a cluster are waited for before a command is repeated or given up.
const RESPONSE: Duration = Duration::from_secs(1);

/// User and password of a store. They are in no policy.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user; the store's default one if there is none.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl Credentials {
    /// Reads them from the environment: `TIDEGATE_REDIS_USERNAME` and `TIDEGATE_REDIS_PASSWORD`, or
    /// the file that `TIDEGATE_REDIS_PASSWORD_FILE` names.
    ///
    /// # Errors
    /// Says which file cannot be read.
    pub fn from_environment() -> Result<Self, String> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut password = variable("TIDEGATE_REDIS_PASSWORD");
        if let Some(file) = variable("TIDEGATE_REDIS_PASSWORD_FILE") {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("TIDEGATE_REDIS_PASSWORD_FILE names {file}: {error}"))?;
            // Editors end a file with a new line.
            password = Some(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(Self {
            username: variable("TIDEGATE_REDIS_USERNAME"),
            password,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// A connection that several requests use at once.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// Makes connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    kind: StoreKind,
    addresses: Vec<ConnectionAddr>,
    database: i64,
    certificates: Option<TlsCertificates>,
    credentials: Credentials,
}

impl Connector {
    pub(super) fn new(
        policy: &CounterStore,
        files: &TlsFiles,
        credentials: Credentials,
    ) -> Result<Self, TlsError> {
        let certificates = match &policy.tls {
            Some(tls) => Some(read(tls, files)?),
            None => None,
        };
        let address = |(host, port): &(String, u16)| {
            if certificates.is_some() {
                ConnectionAddr::TcpTls {
                    host: host.clone(),
                    port: *port,
                    insecure: false,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host.clone(), *port)
            }
        };
        Ok(Self {
            kind: policy.kind.clone(),
            addresses: policy.addresses.iter().map(address).collect(),
            database: policy.database.into(),
            certificates,
            credentials,
        })
    }

    pub(super) async fn connect(&self) -> RedisResult<Link> {
        match &self.kind {
            StoreKind::Server => self.connect_to_server().await.map(Link::One),
            StoreKind::Sentinel { master } => {
                let mut sentinels = self.sentinels(master)?;
                let connection = sentinels.get_async_connection_with_config(&config()).await;
                connection.map(Link::One)
            }
            StoreKind::Cluster => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(CONNECT)
                    .set_response_timeout(RESPONSE);
                let cluster = self.cluster()?;
                let connection = cluster.get_async_connection_with_config(config).await;
                connection.map(Link::Cluster)
            }
        }
    }

    async fn connect_to_server(&self) -> RedisResult<MultiplexedConnection> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(username) = &self.credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.credentials.password {
            settings = settings.set_password(password);
        }
        let address = self.addresses.first().cloned();
        let address = address.unwrap_or_else(|| ConnectionAddr::Tcp(String::new(), 0));
        let info = address
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(tcp());
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        client
            .get_multiplexed_async_connection_with_config(&config())
            .await
    }

    /// Sentinels have the same users and passwords as their servers, as far as anything is said.
    fn sentinels(&self, master: &str) -> RedisResult<SentinelClient> {
        let addresses = self.addresses.iter().cloned();
        let mut builder =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.database)
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(username) = &self.credentials.username {
            builder = builder
                .set_client_to_redis_username(username)
                .set_client_to_sentinel_username(username);
        }
        if let Some(password) = &self.credentials.password {
            builder = builder
                .set_client_to_redis_password(password)
                .set_client_to_sentinel_password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }

    fn cluster(&self) -> RedisResult<ClusterClient> {
        let mut builder = ClusterClient::builder(self.addresses.clone())
            .retries(2)
            .tcp_settings(tcp());
        if let Some(username) = &self.credentials.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.credentials.password {
            builder = builder.password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
        }
        builder.build()
    }
}

fn tcp() -> TcpSettings {
    // A question is small, and its answer is waited for.
    TcpSettings::default().set_nodelay(true)
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        // Whoever asks has a patience of its own.
        .set_response_timeout(None)
}

fn read(tls: &StoreTls, files: &TlsFiles) -> Result<TlsCertificates, TlsError> {
    let root_cert = match &tls.ca {
        Some(file) => Some(files.read(file)?),
        None => None,
    };
    let client_tls = match &tls.client_certificate {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: files.read(certificate)?,
            client_key: files.read(key)?,
        }),
        None => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}
