//! Redis as a cache: pooled connections, a time limit around everything, and a breaker.

use std::sync::Arc;
use std::time::Duration;

use bb8_redis::bb8;
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, cmd};
use bytes::Bytes;
use tokio::time::timeout;

use super::CacheError;
use super::breaker::{Breaker, Change};

/// Before every key: the server may not be Redis's only user.
const PREFIX: &str = "llmring:";
const MAX_CONNECTIONS: u32 = 4;
/// How long a connection may take to stand. It is made in the background: no caller waits that long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A Redis server that may go away.
#[derive(Clone)]
pub(super) struct Redis {
    pool: bb8::Pool<Connector>,
    timeout: Duration,
    breaker: Arc<Breaker>,
}

struct Connector {
    client: Client,
    config: AsyncConnectionConfig,
}

/// A connection, and whether it has a command under way. One that comes back so was abandoned in the middle, and might never answer
/// again: the pool drops it.
struct Connection {
    inner: MultiplexedConnection,
    unanswered: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Redis(#[from] RedisError),
}

impl bb8::ManageConnection for Connector {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        let inner = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        Ok(Connection {
            inner,
            unanswered: false,
        })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        connection.command(&cmd("PING")).await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.unanswered
    }
}

impl Connection {
    async fn command<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        self.unanswered = true;
        let answer = command.query_async(&mut self.inner).await?;
        self.unanswered = false;
        Ok(answer)
    }
}

impl Redis {
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, CacheError> {
        // `rediss` needs a cryptography provider. Somebody may have installed one already: fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The error could show parts of the URL.
        let client = Client::open(url).map_err(|_| CacheError::RedisUrl)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(timeout));
        let pool = bb8::Pool::builder()
            .max_size(MAX_CONNECTIONS)
            .connection_timeout(timeout)
            .retry_connection(false)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .build_unchecked(Connector { client, config });
        Ok(Self {
            pool,
            timeout,
            breaker: Arc::new(Breaker::new()),
        })
    }

    pub(super) async fn get(&self, key: &str) -> Option<Bytes> {
        self.command::<Option<Vec<u8>>>(cmd("GET").arg(prefixed(key)))
            .await?
            .map(Bytes::from)
    }

    pub(super) async fn put(&self, key: &str, value: &[u8], ttl: Duration) {
        // Redis refuses a time to live of 0.
        let ttl = u64::try_from(ttl.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(1, i64::MAX as u64 / 2);
        self.command::<()>(cmd("SET").arg(prefixed(key)).arg(value).arg("PX").arg(ttl))
            .await;
    }

    pub(super) async fn ping(&self) -> bool {
        self.command::<()>(&cmd("PING")).await.is_some()
    }

    /// The answer, or `None` when there is none in time or the breaker is open.
    async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let attempt = self.breaker.attempt()?;
        match timeout(self.timeout, self.try_command(command))
            .await
            .unwrap_or(Err(Failure::TimedOut))
        {
            Ok(answer) => {
                if attempt.succeeded() == Change::Closed {
                    tracing::info!("Redis answers again");
                }
                Some(answer)
            }
            Err(failure) => {
                if attempt.failed() == Change::Opened {
                    tracing::warn!(%failure, "Redis does not answer: caching in memory alone until it does");
                }
                None
            }
        }
    }

    async fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.pool.get().await.map_err(|error| match error {
            bb8::RunError::User(error) => Failure::Redis(error),
            bb8::RunError::TimedOut => Failure::TimedOut,
        })?;
        Ok(connection.command(command).await?)
    }
}

fn prefixed(key: &str) -> String {
    format!("{PREFIX}{key}")
}
