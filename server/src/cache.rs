//! A cache of bytes: in this process's memory, and beside it in Redis for all replicas when one is configured.
//!
//! A cache may forget, never fail: when Redis is away or hangs, callers wait at most its time-out, then a circuit breaker spares
//! them even that.

mod breaker;
mod redis;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;

use self::redis::Redis;
use crate::config::CacheConfig;

/// Why a cache cannot be set up. The URL is not shown: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Not a URL that Redis understands.
    #[error("LLMRING_REDIS_URL is not a usable Redis URL, expected redis://HOST:PORT/DATABASE")]
    RedisUrl,
}

/// What a cache can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// This process's memory alone, as configured.
    Memory,
    /// Memory, and Redis answers.
    Connected,
    /// Memory alone, because Redis does not answer.
    Degraded,
}

/// A cache. Clones share what it holds.
#[derive(Clone)]
pub struct Cache {
    memory: moka::future::Cache<String, Entry>,
    redis: Option<Redis>,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    ttl: Duration,
}

struct OwnTtl;

impl Expiry<String, Entry> for OwnTtl {
    fn expire_after_create(&self, _key: &String, entry: &Entry, _created_at: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _key: &String,
        entry: &Entry,
        _updated_at: Instant,
        _until_expiry: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl Cache {
    /// A cache. Redis is dialled when it is first needed, on the tokio runtime that needs it; not reaching it is no error.
    ///
    /// # Errors
    /// [`CacheError::RedisUrl`] when the URL is malformed.
    pub fn new(config: &CacheConfig) -> Result<Self, CacheError> {
        let memory = moka::future::Cache::builder()
            .max_capacity(config.memory_bytes)
            .weigher(|key: &String, entry: &Entry| {
                u32::try_from(key.len() + entry.value.len()).unwrap_or(u32::MAX)
            })
            .expire_after(OwnTtl)
            .build();
        let redis = config
            .redis_url
            .as_deref()
            .map(|url| Redis::new(url, config.redis_timeout))
            .transpose()?;
        Ok(Self { memory, redis })
    }

    /// The value of `key`, if it is known and not too old.
    pub async fn get(&self, key: &str) -> Option<Bytes> {
        if let Some(entry) = self.memory.get(key).await {
            return Some(entry.value);
        }
        self.redis.as_ref()?.get(key).await
    }

    /// Remembers `value` for at most `ttl`.
    pub async fn put(&self, key: &str, value: Bytes, ttl: Duration) {
        self.memory
            .insert(
                key.to_owned(),
                Entry {
                    value: value.clone(),
                    ttl,
                },
            )
            .await;
        if let Some(redis) = &self.redis {
            redis.put(key, &value, ttl).await;
        }
    }

    /// What the cache can rely on now. Asks Redis, unless that has just failed.
    pub async fn state(&self) -> CacheState {
        match &self.redis {
            None => CacheState::Memory,
            Some(redis) if redis.ping().await => CacheState::Connected,
            Some(_) => CacheState::Degraded,
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("redis", &self.redis.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(50);

    fn cache(redis_url: Option<&str>, memory_bytes: u64) -> Cache {
        let config = CacheConfig {
            redis_url: redis_url.map(str::to_owned),
            redis_timeout: TIMEOUT,
            memory_bytes,
            ttl: TIMEOUT,
        };
        Cache::new(&config).expect("a cache")
    }

    #[tokio::test]
    async fn memory_keeps_what_fits_until_it_is_too_old() {
        let cache = cache(None, 1000);
        cache
            .put("a", Bytes::from_static(b"1"), Duration::from_secs(60))
            .await;
        cache
            .put("expired", Bytes::from_static(b"1"), Duration::ZERO)
            .await;
        cache
            .put("large", vec![0; 2000].into(), Duration::from_secs(60))
            .await;
        cache.memory.run_pending_tasks().await;
        assert_eq!(cache.get("a").await.as_deref(), Some(b"1".as_slice()));
        assert_eq!(cache.get("expired").await, None);
        assert_eq!(cache.get("large").await, None);
        cache
            .put("a", Bytes::from_static(b"2"), Duration::from_secs(60))
            .await;
        assert_eq!(cache.get("a").await.as_deref(), Some(b"2".as_slice()));
        assert_eq!(cache.state().await, CacheState::Memory);
    }

    #[test]
    fn a_malformed_url_names_the_variable_and_not_the_password() {
        for url in ["http://:hush@localhost", "redis://:hush@localhost:port/", "hush"] {
            let config = CacheConfig {
                redis_url: Some(url.to_owned()),
                redis_timeout: TIMEOUT,
                memory_bytes: 0,
                ttl: TIMEOUT,
            };
            let shown = format!("{config:?}");
            let error = Cache::new(&config).expect_err(url);
            assert!(error.to_string().starts_with("LLMRING_REDIS_URL"), "{error}");
            assert!(!format!("{error}{error:?}{shown}").contains("hush"));
        }
    }

    /// The clock is paused, so that every wait is exactly as long as the time-out that ends it.
    #[tokio::test(start_paused = true)]
    async fn a_redis_that_hangs_costs_its_time_out_three_times_and_then_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("redis://:hush@{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok(connection) = listener.accept().await {
                open.push(connection);
            }
        });
        let cache = cache(Some(&url), 1000);
        let waits = async |cache: &Cache| {
            let before = tokio::time::Instant::now();
            assert_eq!(cache.get("a").await, None);
            before.elapsed()
        };
        for _ in 0..3 {
            // Timers tick in milliseconds.
            let wait = waits(&cache).await;
            assert!(
                wait >= TIMEOUT && wait <= TIMEOUT + Duration::from_millis(2),
                "{wait:?}"
            );
        }
        assert_eq!(waits(&cache).await, Duration::ZERO);
        assert_eq!(cache.state().await, CacheState::Degraded);
        // Memory goes on.
        cache
            .put("b", Bytes::from_static(b"1"), Duration::from_secs(60))
            .await;
        assert_eq!(cache.get("b").await.as_deref(), Some(b"1".as_slice()));
        // Later one caller tries again, and fails again.
        tokio::time::advance(breaker::OPEN_FOR).await;
        assert!(waits(&cache).await >= TIMEOUT);
        assert_eq!(waits(&cache).await, Duration::ZERO);
        assert!(!format!("{cache:?}").contains("hush"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_redis_that_refuses_connections_is_a_degraded_cache() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let cache = cache(Some(&format!("redis://{address}")), 1000);
        cache
            .put("a", Bytes::from_static(b"1"), Duration::from_secs(60))
            .await;
        assert_eq!(cache.get("a").await.as_deref(), Some(b"1".as_slice()));
        assert_eq!(cache.state().await, CacheState::Degraded);
    }

    #[tokio::test]
    async fn replicas_share_a_real_redis() {
        let Ok(url) = std::env::var("LLMRING_TEST_REDIS_URL") else {
            eprintln!("SKIPPED: no Redis here, set LLMRING_TEST_REDIS_URL");
            return;
        };
        let replica = || {
            let config = CacheConfig {
                redis_url: Some(url.clone()),
                redis_timeout: Duration::from_secs(5),
                memory_bytes: 0,
                ttl: TIMEOUT,
            };
            Cache::new(&config).expect("a cache")
        };
        let (writer, reader) = (replica(), replica());
        let key = format!("test:{}", uuid::Uuid::now_v7());
        let binary = Bytes::from_static(b"\0\xff\r\n");
        assert_eq!(writer.state().await, CacheState::Connected);
        assert_eq!(reader.get(&key).await, None);
        writer.put(&key, binary.clone(), Duration::from_secs(60)).await;
        assert_eq!(reader.get(&key).await, Some(binary.clone()));
        writer.put(&key, binary, Duration::from_millis(1)).await;
        let gone = async {
            while reader.get(&key).await.is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone)
            .await
            .expect("Redis forgets");
    }
}
