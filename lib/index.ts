/**
 * Better Auth sessions in Redis. `redisStorage` is the secondary storage of Better Auth. `RedisSessionStore` has the same sessions for the
 * application's own code. The gate is in `better-auth-redis-store/gate`, the step for Next.js in `better-auth-redis-store/next`.
 */

export { SessionStoreError, type SessionStoreErrorCode } from "./error.js";
export type {
	DegradedMetrics,
	JournalMetrics,
	NearCacheMetrics,
	RefusedWritesMetrics,
	RevokeMetrics,
	StoreMetrics,
	UserLookMetrics,
} from "./metrics.js";
export type { Credentials, CredentialsFunction } from "./native/credentials.js";
export type { StoreEvent, StoreListener, StoreLogger } from "./native/events.js";
export type {
	LoadUser,
	NearCacheOptions,
	RevokeOptions,
	ServerAddress,
	StoreOptions,
	TlsOptions,
} from "./options.js";
export { RedisSessionStore, redisSessionStore, type Session, type SessionWithUser } from "./session-store.js";
export { type RedisStorage, redisStorage } from "./storage.js";
