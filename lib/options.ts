/** The options of a store, and where it connects without any. */

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
	/** Its size limit, in bytes. Each further worker thread keeps copies of up to an eighth of that. Default 32 MiB. */
	maxBytes?: number | undefined;
	/** Upper bound for how long a value is served without being read again, in ms. Default 60000. */
	ttlMs?: number | undefined;
	/** Upper bound for how old a served value is when the connection freezes or is cut, in ms; at least 1.5 times `heartbeatMs`. Default 3000. */
	maxStalenessMs?: number | undefined;
	/** Older name of the store's option `heartbeatMs`. Both may be given if they are equal. */
	heartbeatMs?: number | undefined;
}

/** Settings of waiting for replicas (WAIT). */
export interface RevokeOptions {
	/** How many replicas have to acknowledge the end of a session. */
	waitReplicas: number;
	/** Upper bound for the wait, in ms; less than `commandTimeout`. Default 500. */
	timeoutMs?: number | undefined;
}

/** Reads the row of a user, as Better Auth's adapter returns it; `null` when there is none. */
export type LoadUser = (userId: string) => object | null | undefined | Promise<object | null | undefined>;

/** One server of several. */
export interface ServerAddress {
	/** Host name or address. */
	readonly host: string;
	readonly port?: number | undefined;
}

/** Options of a store. Names that ioredis has mean what they mean there. */
export interface StoreOptions {
	/**
	 * Where Redis or Valkey is: `redis://`, `rediss://` (TLS), `valkey://`, `valkeys://`, `unix:///path`, each with
	 * `user:password@` and `/database` as needed; `redis-sentinel://host:port,host:port/name/database`, the primary that these sentinels
	 * name; `redis-cluster://host:port,host:port` (`rediss-cluster://`: TLS), the cluster that these servers are part of; or `memory://`, the
	 * embedded engine: sessions in this process only. Default: the environment variable `REDIS_URL`. With neither, the embedded engine where
	 * `NODE_ENV` is `development` or `test`; elsewhere the first operation rejects.
	 */
	url?: string | undefined;
	/** Host name or address, instead of `url`. */
	host?: string | undefined;
	/** Port. Default 6379. */
	port?: number | undefined;
	/** Path of a Unix socket, instead of `url`. */
	path?: string | undefined;
	/**
	 * Some servers of a Redis Cluster, instead of `url`. The first that answers names the others. Port 6379 unless given. The same `username`,
	 * `password` and `tls` are used for all.
	 */
	cluster?: readonly ServerAddress[] | undefined;
	/**
	 * Maps addresses that sentinels or a cluster announce to those that are reachable from here (NAT, port forwarding):
	 * `{ "10.0.0.1:6379": { host: "redis.example.com", port: 7001 } }`.
	 */
	natMap?: Readonly<Record<string, ServerAddress>> | undefined;
	/** Sentinels, instead of `url`: any of them that answers names the primary. Port 26379 unless given. */
	sentinels?: readonly ServerAddress[] | undefined;
	/** The primary's name at the sentinels. Default `mymaster`. */
	name?: string | undefined;
	/** User name at the sentinels. */
	sentinelUsername?: string | undefined;
	/** Password at the sentinels. */
	sentinelPassword?: string | undefined;
	/** Whether to connect to the sentinels by TLS, with the settings of `tls`. Default: as to the servers. */
	sentinelTLS?: boolean | undefined;
	/** User name (ACL). */
	username?: string | undefined;
	/** Password. */
	password?: string | undefined;
	/**
	 * A function that returns user name and password, instead of `password`: for passwords that are rotated and tokens that expire. It is called
	 * at each connection, reconnections included. With `expiresAt`, live connections log in again before then. It must resolve within
	 * `connectTimeout`. Of several stores that share a connection, the newest one's function is called.
	 */
	credentials?: CredentialsFunction | undefined;
	/** Database number. Default 0. */
	db?: number | undefined;
	/** `true`: connects to `host` by TLS. An object: the settings of TLS. */
	tls?: boolean | TlsOptions | undefined;
	/** Upper bound for connecting, login included, in ms. Default 10000. */
	connectTimeout?: number | undefined;
	/**
	 * How long the server may be silent while an operation waits for it, in ms; then the operation rejects with `TIMEOUT`. The time starts when
	 * the command is sent, and again with each other answer of the server, so calls of one tick do not time out because they wait for each
	 * other. Upper bound for one operation: 60 s more. Default 2000.
	 */
	commandTimeout?: number | undefined;
	/**
	 * An answer of Redis that takes longer, in ms, counts as slow: `metrics().degraded.slowAnswers` counts it, and the event `degraded` reports
	 * it, at most once in 30 s. Default 100.
	 */
	slowMs?: number | undefined;
	/**
	 * Upper bound for how long an operation waits for a lost connection, in ms; then it rejects with `UNAVAILABLE`. Shorter interruptions go
	 * unnoticed. Default 250.
	 */
	failFastMs?: number | undefined;
	/** The shortest pause between two attempts to connect, in ms. Default 50. */
	reconnectMinMs?: number | undefined;
	/** The longest pause between two attempts, in ms: pauses grow with jitter after three attempts in the first second. Default 800. */
	reconnectMaxMs?: number | undefined;
	/**
	 * Interval of heartbeats on an idle connection, in ms. Sentinels, and a cluster for its slots, are asked at the same interval, at most once a
	 * second. Each heartbeat is a command that some services bill. Default 1000.
	 */
	heartbeatMs?: number | undefined;
	/** The largest number of operations in flight; further ones reject with `UNAVAILABLE` at once. Default 50000. */
	maxInFlight?: number | undefined;
	/** Idle time before TCP keep-alive probes, in ms; 0 sends none. Default 30000. */
	keepAlive?: number | undefined;
	/** Name of the connection, as `CLIENT LIST` shows it. Default `better-auth-redis-store`. */
	connectionName?: string | undefined;
	/**
	 * Prefix of every key. Each application has its own, and none of these begins with another. Default `session:`. With `better-auth:` the store
	 * reads what `@better-auth/redis-storage` wrote.
	 */
	keyPrefix?: string | undefined;
	/** Prefix of the keys of users' indexes; likewise one per application. Default `user-sessions:`. */
	userPrefix?: string | undefined;
	/** How long the tombstone of an ended session is kept, in s. Default 300, which is right except in a test that needs less. */
	tombstoneSeconds?: number | undefined;
	/**
	 * The largest value, in bytes. A write that is longer than this and longer than the stored value rejects with `LIMIT`, and ends the session
	 * that it was to change. Default 8 MiB.
	 */
	maxValueBytes?: number | undefined;
	/**
	 * The largest number of live sessions of a user; a further sign-in ends the oldest. With two factors (`user.twoFactorEnabled`) it does so 5 s
	 * later, so that a password alone ends none. Sessions with `impersonatedBy` neither count nor are ended. Refused beside Better Auth's
	 * `session.storeSessionInDatabase`, whose rows would outlive these ends. Default: any number.
	 */
	maxSessionsPerUser?: number | undefined;
	/**
	 * Serves repeated reads from this process's memory, as long as Redis reports no change. `false`: every read goes to Redis. It is off by
	 * itself where the server has no tracking (RESP3 and Redis 7 or Valkey are needed). Default `true`.
	 */
	nearCache?: boolean | NearCacheOptions | undefined;
	/**
	 * Waits, when a session is ended, until replicas have acknowledged it (WAIT). An end that too few acknowledge in time is still done; the
	 * event `underReplicated` and `metrics().revoke` report it. Default: no wait.
	 */
	revoke?: RevokeOptions | undefined;
	/**
	 * What calls do while Redis cannot answer. `reject`: they reject. `database`: `get` of a `redisStorage` resolves to `null`, so that Better
	 * Auth reads its database; ends and writes of sessions are kept in memory and carried out when Redis is back, ends first. `database` needs
	 * Better Auth's `session.storeSessionInDatabase: true`, repeated here as `storeSessionInDatabase`. Default `reject`.
	 */
	onUnavailable?: "reject" | "database" | undefined;
	/** The value of Better Auth's option `session.storeSessionInDatabase`; `onUnavailable` and `maxSessionsPerUser` need it. Default `false`. */
	storeSessionInDatabase?: boolean | undefined;
	/**
	 * Reads the row of a user as Better Auth's adapter returns it; `null` when there is none. After each write of a session's user the store
	 * compares the two, and writes the row where they differ. Default: Better Auth's own adapter, once a `sessionGate` was made with this storage.
	 */
	loadUser?: LoadUser | undefined;
	/** Gets a line when something happens to the connection; `false`: no lines. Default `console`. */
	logger?: StoreLogger | false | undefined;
}

/**
 * The options as JSON for the addon. `credentials` becomes whether there is a function. A value that JSON has no form for becomes an empty
 * array, which no option accepts, so the addon refuses it by name.
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
 * The options with a server. Without one they get `REDIS_URL`, else the embedded engine in development and tests. `null` elsewhere: then
 * the first operation rejects, and not the import, which `next build` does without a server. An unset `NODE_ENV` counts as production: many
 * servers run without it, and each would keep its own sessions.
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

/** Where a Redis client was passed by mistake: `options`, or the name of the option that holds it. */
export function clientIn(options: object): string | undefined {
	if (isClient(options)) return "options";
	return CLIENT_OPTIONS.find((name) => isClient((options as Record<string, unknown>)[name]));
}

function isClient(value: unknown): boolean {
	if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
	return CLIENT_METHODS.some((name) => typeof (value as Record<string, unknown>)[name] === "function");
}
