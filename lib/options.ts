/** The options of a store, and the server that it connects to without options. */

import type { CredentialsFunction } from "./native/credentials.js";
import type { StoreLogger } from "./native/events.js";

/** TLS settings. Certificates and keys are PEM texts. */
export interface TlsOptions {
	/**
	 * Certificate authorities to trust, one or several, or the server's own self-signed certificate. Default: the system's authorities,
	 * Mozilla's as bundled, and those of the file that `NODE_EXTRA_CA_CERTS` names.
	 */
	ca?: string | undefined;
	/** The client's certificate; together with `key`. */
	cert?: string | undefined;
	/** The client's private key; together with `cert`. */
	key?: string | undefined;
	/** The host name that the server's certificate must be valid for. Default: the host of the connection. */
	servername?: string | undefined;
	/** The oldest TLS version that is accepted. Default `TLSv1.2`. */
	minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
	/**
	 * Accepts any certificate, so that anybody on the network path can read and change everything, passwords and sessions included. For tests
	 * only. Default `false`.
	 */
	dangerouslyDisableVerification?: boolean | undefined;
}

/** Settings of the near cache. */
export interface NearCacheOptions {
	/**
	 * Size limit, in bytes. It includes an eighth for the copies of one JavaScript thread. Each further worker thread keeps up to an eighth
	 * more. 65536 to 68719476736. Default 32 MiB.
	 */
	maxBytes?: number | undefined;
	/** A value that is older than this, in ms, is read from Redis again. Default 60000. */
	ttlMs?: number | undefined;
	/**
	 * Maximum age of an answer, in ms, if the connection freezes or is cut without notice. At least 1.5 times `heartbeatMs`. Default 3000.
	 */
	maxStalenessMs?: number | undefined;
	/** Older name of the store's option `heartbeatMs`, in ms. If both are given, they must be equal. */
	heartbeatMs?: number | undefined;
}

/** Settings of waiting for replicas (WAIT). */
export interface RevokeOptions {
	/** Number of replicas that must acknowledge the end of a session, 1 to 100. */
	waitReplicas: number;
	/** Upper bound for the wait, in ms; less than `commandTimeout`. Default 500. */
	timeoutMs?: number | undefined;
}

/** Reads the row of a user, as Better Auth's adapter returns it. Returns `null` if there is none. */
export type LoadUser = (userId: string) => object | null | undefined | Promise<object | null | undefined>;

/** One server of several. */
export interface ServerAddress {
	/** Host name or IP address. */
	readonly host: string;
	/** Port. The default depends on the option: 6379, and 26379 for sentinels. */
	readonly port?: number | undefined;
}

/**
 * Options of a store. An option with the name of an ioredis option has the same meaning. docs/options.md has the bounds of each option.
 *
 * Give the server by one of `url`, `host`, `path`, `sentinels` and `cluster`.
 */
export interface StoreOptions {
	/**
	 * URL of Redis or Valkey:
	 *
	 * - `redis://user:password@host:6379/0`, `valkey://`; over TLS `rediss://`, `valkeys://`. User, password, port and database are optional.
	 * - `unix:///path`: a Unix socket.
	 * - `redis-sentinel://host:port,host:port/name/database`: the primary that these sentinels name; over TLS `rediss-sentinel://`.
	 * - `redis-cluster://host:port,host:port`: the cluster of these servers; over TLS `rediss-cluster://`.
	 * - `memory://`: the embedded engine. Sessions are in this process only.
	 *
	 * Default: the environment variable `REDIS_URL`. Without that, the store uses the embedded engine if `NODE_ENV` is `development` or
	 * `test`. Otherwise the first operation rejects.
	 */
	url?: string | undefined;
	/** Host name or IP address, instead of `url`. */
	host?: string | undefined;
	/** Port of `host`. Default 6379. */
	port?: number | undefined;
	/** Path of a Unix socket, instead of `url`. */
	path?: string | undefined;
	/**
	 * Some servers of a Redis Cluster, instead of `url`. The store discovers the others, and uses the same `username`, `password` and `tls`
	 * for all. A server without a port has port 6379.
	 */
	cluster?: readonly ServerAddress[] | undefined;
	/**
	 * Maps addresses that sentinels or a cluster announce to reachable ones (NAT, port forwarding):
	 * `{ "10.0.0.1:6379": { host: "redis.example.com", port: 7001 } }`.
	 */
	natMap?: Readonly<Record<string, ServerAddress>> | undefined;
	/** Sentinels, instead of `url`. Any of them that answers names the primary. A server without a port has port 26379. */
	sentinels?: readonly ServerAddress[] | undefined;
	/** Name of the primary at the sentinels. Default `mymaster`. */
	name?: string | undefined;
	/** User name (ACL) at the sentinels. */
	sentinelUsername?: string | undefined;
	/** Password at the sentinels. */
	sentinelPassword?: string | undefined;
	/** Whether the store connects to the sentinels over TLS, with the settings of `tls`. Default: the same as for the servers. */
	sentinelTLS?: boolean | undefined;
	/** User name (ACL). An empty string means none. */
	username?: string | undefined;
	/** Password. An empty string means none. */
	password?: string | undefined;
	/**
	 * A function that returns user name and password, instead of `password`, for rotated passwords and tokens that expire. The store calls it at
	 * each connection, reconnections included. With `expiresAt`, live connections log in again before that time. It must resolve within
	 * `connectTimeout`. If several stores share a connection, the function of the newest store is called.
	 */
	credentials?: CredentialsFunction | undefined;
	/** Database number. On a cluster only 0, except on Valkey 9 with `cluster-databases`. Default 0. */
	db?: number | undefined;
	/** `true` connects over TLS. An object connects over TLS with these settings. Default: by the URL. */
	tls?: boolean | TlsOptions | undefined;
	/** Upper bound for connecting, in ms: DNS, TCP, TLS and login together. Default 10000. */
	connectTimeout?: number | undefined;
	/**
	 * Limit for a server's silence, in ms. After it, a waiting operation rejects with `TIMEOUT`. The time starts when the command is sent, and
	 * again with each other answer of the server. So calls of one tick do not time out because they wait for each other. Upper bound for one
	 * operation: 60 s more. Default 2000.
	 */
	commandTimeout?: number | undefined;
	/**
	 * A slower answer of Redis, in ms, is counted in `metrics().degraded.slowAnswers`. The event `degraded` reports slow answers, at most once
	 * in 30 s. Default 100.
	 */
	slowMs?: number | undefined;
	/**
	 * Limit for a wait while disconnected, in ms. After it, the operation rejects with `UNAVAILABLE`. Shorter interruptions go unnoticed,
	 * except by `increment` and `getAndDelete` in flight, which are never retried. Default 250.
	 */
	failFastMs?: number | undefined;
	/** Shortest pause between two attempts to connect, in ms. Default 50. */
	reconnectMinMs?: number | undefined;
	/** Longest pause between two attempts to connect, in ms, not less than `reconnectMinMs`. Pauses grow with jitter. Default 800. */
	reconnectMaxMs?: number | undefined;
	/**
	 * Interval of heartbeats on an idle connection, in ms, 10 to 60000. The store also queries sentinels, and a cluster for its slots, at this
	 * interval, at most once a second. Some services bill each heartbeat as a command. Default 1000.
	 */
	heartbeatMs?: number | undefined;
	/** Largest number of operations in flight. Further ones reject with `UNAVAILABLE` at once. Default 50000. */
	maxInFlight?: number | undefined;
	/** Idle time before TCP keep-alive probes, in ms; 0 sends none. Default 30000. */
	keepAlive?: number | undefined;
	/** Name of the connection in `CLIENT LIST`: printable ASCII without spaces. Default `better-auth-redis-store`. */
	connectionName?: string | undefined;
	/**
	 * Prefix of every key, 1 to 256 bytes. Each application needs its own, and no prefix may begin with another one. With `better-auth:` the
	 * store reads the sessions of `@better-auth/redis-storage`. Default `session:`.
	 */
	keyPrefix?: string | undefined;
	/** Prefix of the keys of users' indexes, 1 to 256 bytes; also one per application. Default `user-sessions:`. */
	userPrefix?: string | undefined;
	/** Life of the tombstone of an ended session, in s. With less than 120 s, a late write could restore a young session. Default 300. */
	tombstoneSeconds?: number | undefined;
	/**
	 * Largest value, in bytes, 1024 to 536870912. A larger write rejects with `LIMIT` and ends the session that it was to change. A write that is
	 * no longer than the stored value is always accepted. Default 8 MiB.
	 */
	maxValueBytes?: number | undefined;
	/**
	 * Largest number of live sessions per user. A further sign-in ends the oldest session. For a user with two factors
	 * (`user.twoFactorEnabled`) this happens 5 s later, so that a password alone ends no session. Sessions with `impersonatedBy` do not count
	 * and are not ended. Not together with Better Auth's `session.storeSessionInDatabase`, because the ended sessions would still have their
	 * rows. Default: any number.
	 */
	maxSessionsPerUser?: number | undefined;
	/**
	 * Serves repeated reads from this process's memory, as long as Redis reports no change. With `false` every read goes to Redis. The near cache
	 * is off if the server has no tracking (it needs RESP3 and Redis 7 or Valkey). Default `true`.
	 */
	nearCache?: boolean | NearCacheOptions | undefined;
	/**
	 * Waits until replicas have acknowledged the end of a session (WAIT). If too few acknowledge it in time, the session is still ended. The
	 * event `underReplicated` and `metrics().revoke` report this. Default: no wait.
	 */
	revoke?: RevokeOptions | undefined;
	/**
	 * Behaviour of calls while Redis cannot answer:
	 *
	 * - `reject`: they reject.
	 * - `database`: `get` of a `redisStorage` resolves to `null`, so that Better Auth reads its database. Ends and writes of sessions are kept in
	 *   memory, and carried out when Redis is back, ends first. This needs Better Auth's `session.storeSessionInDatabase: true`, and the same
	 *   value in `storeSessionInDatabase` here.
	 *
	 * Default `reject`.
	 */
	onUnavailable?: "reject" | "database" | undefined;
	/** Repeats the value of Better Auth's `session.storeSessionInDatabase`. `onUnavailable` and `maxSessionsPerUser` check it. Default `false`. */
	storeSessionInDatabase?: boolean | undefined;
	/**
	 * Reads the row of a user as Better Auth's adapter returns it, or `null` if there is none. After each write of the user in a session, the
	 * store compares both. It writes the row into the session if they differ. Default: Better Auth's own adapter, once a `sessionGate` was made
	 * with this storage.
	 */
	loadUser?: LoadUser | undefined;
	/** Receives the log lines of the connection. `false`: no lines. Default `console`. */
	logger?: StoreLogger | false | undefined;
}

/**
 * The options as JSON for the addon. `credentials` becomes `true` if it is a function. A value without a form in JSON becomes an empty array.
 * No option accepts an empty array, so the addon refuses the option by its name.
 */
export function toJson(options: StoreOptions): string {
	const withoutJson = ["function", "bigint", "symbol"];
	const { credentials, ...settings } = options;
	const flag = credentials === undefined ? {} : { credentials: typeof credentials === "function" || [] };
	return JSON.stringify({ ...settings, ...flag }, (_, value) => (withoutJson.includes(typeof value) ? [] : value));
}

/** Whether the options name a server, or the embedded engine. */
export function namesServer(options: StoreOptions): boolean {
	const { url, host, path, cluster, sentinels } = options;
	return [url, host, path, cluster, sentinels].some((option) => option !== undefined);
}

let hasNoticed = false;

/**
 * The options with a server: their own, else `REDIS_URL`, else the embedded engine in development and tests. Otherwise `null`: the first
 * operation rejects. The import succeeds, because `next build` imports the store without a server. An unset `NODE_ENV` counts as production.
 * Many servers run without it, and each would keep sessions of its own.
 */
export function withDefaultServer(options: StoreOptions): StoreOptions | null {
	if (namesServer(options)) return options;
	const url = process.env.REDIS_URL;
	if (url) return { ...options, url };
	if (process.env.NODE_ENV !== "development" && process.env.NODE_ENV !== "test") return null;
	if (!hasNoticed) {
		hasNoticed = true;
		process.stderr.write(
			"[better-auth-redis-store] REDIS_URL is not set; sessions are kept in this process's memory and end with it.\n",
		);
	}
	return { ...options, url: "memory://" };
}

/** A Redis client of any package has one of these. */
const CLIENT_METHODS = ["sendCommand", "send_command", "customCommand", "pipeline", "multi"];

/** Options under which other packages take a client. */
const CLIENT_OPTIONS = ["client", "redis", "redisClient"];

/** The place of a Redis client that was passed by mistake: `options`, or the name of the option with the client. */
export function clientIn(options: object): string | undefined {
	if (isClient(options)) return "options";
	return CLIENT_OPTIONS.find((name) => isClient((options as Record<string, unknown>)[name]));
}

function isClient(value: unknown): boolean {
	if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
	return CLIENT_METHODS.some((name) => typeof (value as Record<string, unknown>)[name] === "function");
}
