/** Better Auth sessions in Redis. */

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
