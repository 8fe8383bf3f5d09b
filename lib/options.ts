/** What a store can be told, and where it looks when it is told nothing. */

import type { CredentialsFunction } from "./native/credentials.js";
import type { StoreLogger } from "./native/events.js";
import type { LoadUser } from "./user-sync.js";

/** TLS settings. Certificates and keys are PEM texts. */
export interface TlsOptions {
	/**
	 * The certificate authority to trust, or several; or the server's own certificate, if it is self-signed. Default: the system's, Mozilla's as
	 * bundled, and those of the file that `NODE_EXTRA_CA_CERTS` names.
	 */
	ca?: string | undefined;
	/** The client's certificate; together with `key`. */
	cert?: string | undefined;
	/** The client's private key; together with `cert`. */
	key?: string | undefined;
	/** The name that the server's certificate must be for. Default: the host that is connected to. */
	servername?: string | undefined;
	/** The oldest version that is spoken. Default `TLSv1.2`. */
	minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
	/**
	 * Accepts any certificate, so that anybody on the way can read and change everything, passwords and sessions included. For a test only.
	 * Default `false`.
	 */
	dangerouslyDisableVerification?: boolean | undefined;
}

/** Settings of the near cache. */
export interface NearCacheOptions {
	/** How much it may hold, in bytes. Each further worker thread keeps copies of up to an eighth of that. Default 32 MiB. */
	maxBytes?: number | undefined;
	/** How long a value is answered at most without being read anew, in ms. Default 60000. */
	ttlMs?: number | undefined;
	/** How old an answer may be when the connection freezes or is cut, in ms; at least 1.5 times `heartbeatMs`. Default 3000. */
	maxStalenessMs?: number | undefined;
	/** The older name of the store's option `heartbeatMs`. Both may be given if they are equal. */
	heartbeatMs?: number | undefined;
}

/** Settings of waiting for replicas. */
export interface RevokeOptions {
	/** How many replicas are to acknowledge the end of a session. */
	waitReplicas: number;
	/** For how long they are waited for, in ms; less than `commandTimeout`. Default 500. */
	timeoutMs?: number | undefined;
}

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
	 * name; `redis-cluster://host:port,host:port` (`rediss-cluster://`: TLS), the cluster that these servers are part of; or `memory://`, the embedded engine: sessions in this process only.
	 * Default: the environment variable `REDIS_URL`. With neither, where `NODE_ENV` is `development` or `test`, the embedded engine; elsewhere the first operation rejects.
	 */
	url?: string | undefined;
	/** Host name or address, instead of `url`. */
	host?: string | undefined;
	/** Port. Default 6379. */
	port?: number | undefined;
	/** Path of a Unix socket, instead of `url`. */
	path?: string | undefined;
	/**
	 * Servers of a Redis Cluster, instead of `url`: any of them, the others are found from the first that answers. Port 6379 unless told. All
	 * connect with the same `username`, `password` and `tls`.
	 */
	cluster?: readonly ServerAddress[] | undefined;
	/**
	 * Where the servers that sentinels or a cluster name are reached from here, if elsewhere than they say (NAT, port forwarding):
	 * `{ "10.0.0.1:6379": { host: "redis.example.com", port: 7001 } }`.
	 */
	natMap?: Readonly<Record<string, ServerAddress>> | undefined;
	/** Sentinels, instead of `url`: they are asked where the primary is, any of them that answers. Port 26379 unless told. */
	sentinels?: readonly ServerAddress[] | undefined;
	/** What the sentinels call the primary. Default `mymaster`. */
	name?: string | undefined;
	/** User name at the sentinels. */
	sentinelUsername?: string | undefined;
	/** Password at the sentinels. */
	sentinelPassword?: string | undefined;
	/** Whether the sentinels speak TLS, with the settings of `tls`. Default: as the servers. */
	sentinelTLS?: boolean | undefined;
	/** User name (ACL). */
	username?: string | undefined;
	/** Password. */
	password?: string | undefined;
	/**
	 * Is asked for user name and password at each connection, also when one was lost, in place of `password`: for passwords that are rotated and
	 * tokens that expire. With `expiresAt`, live connections log in again before then. Must answer within `connectTimeout`. Of several stores that
	 * share a connection, the newest is asked.
	 */
	credentials?: CredentialsFunction | undefined;
	/** Database number. Default 0. */
	db?: number | undefined;
	/** TLS with `host` (`true`), or its settings. */
	tls?: boolean | TlsOptions | undefined;
	/** How long making a connection may take, in ms. Default 10000. */
	connectTimeout?: number | undefined;
	/**
	 * How long a server may be silent that an operation waits for, in ms; then the operation rejects with `TIMEOUT`. It counts from when a
	 * command is sent, and anew whenever the server answers another one: calls of one tick do not time out because they wait for each other. An
	 * operation takes 60 s more at most. Default 2000.
	 */
	commandTimeout?: number | undefined;
	/**
	 * An answer of Redis that takes longer, in ms, is slow: the event `degraded` tells it, once in 30 s at most, and
	 * `metrics().degraded.slowAnswers` counts it. Default 100.
	 */
	slowMs?: number | undefined;
	/**
	 * How long an operation waits at most for a connection that is down, in ms; then it rejects with `UNAVAILABLE`. An interruption that is
	 * shorter is not noticed. Default 250.
	 */
	failFastMs?: number | undefined;
	/** The shortest wait between two attempts to connect, in ms. Default 50. */
	reconnectMinMs?: number | undefined;
	/** The longest one, in ms: the wait grows with each failure, at random, after three attempts in the first second. Default 800. */
	reconnectMaxMs?: number | undefined;
	/**
	 * How often an idle connection is asked for a sign of life, in ms. Sentinels, and a cluster for its slots, are asked as often, and once a second at
	 * most. Each question is a command that some services bill. Default 1000.
	 */
	heartbeatMs?: number | undefined;
	/** How many operations may be under way; further ones reject with `UNAVAILABLE` at once. Default 50000. */
	maxInFlight?: number | undefined;
	/** Idle time before TCP keep-alive probes, in ms; 0 sends none. Default 30000. */
	keepAlive?: number | undefined;
	/** Name of the connection, as `CLIENT LIST` shows it. Default `better-auth-redis-store`. */
	connectionName?: string | undefined;
	/**
	 * What every key begins with; one per application, of which none begins with another. Default `session:`. With `better-auth:`, what
	 * `@better-auth/redis-storage` wrote is read on.
	 */
	keyPrefix?: string | undefined;
	/** What the key of a user's index begins with; likewise one per application. Default `user-sessions:`. */
	userPrefix?: string | undefined;
	/** How long an ended session's token stays refused at once, in s. Default 300, which is right unless a test wants less. */
	tombstoneSeconds?: number | undefined;
	/**
	 * The largest value, in bytes. A write that is longer than this and than what it replaces is refused with `LIMIT`, and ends the session
	 * that it was to change. Default 8 MiB.
	 */
	maxValueBytes?: number | undefined;
	/**
	 * How many live sessions a user may have; a further sign-in ends the oldest. With two factors (`user.twoFactorEnabled`) it does so 5 s later,
	 * so that a password alone ends none. Sessions with `impersonatedBy` neither count nor end. Refused beside Better Auth's
	 * `session.storeSessionInDatabase`, whose rows would outlive these ends. Default: any number.
	 */
	maxSessionsPerUser?: number | undefined;
	/**
	 * Answers what was read a moment ago from this process's memory, as long as Redis says that it has not changed. `false`: every
	 * read goes to Redis. Off by itself where the server cannot track (it takes RESP3 and Redis 7 or Valkey). Default `true`.
	 */
	nearCache?: boolean | NearCacheOptions | undefined;
	/**
	 * Waits, when a session is ended, until so many replicas have acknowledged it (WAIT). An end that fewer acknowledge in time is done all the
	 * same: the event `underReplicated` tells, and `metrics().revoke`. Default: nobody is waited for.
	 */
	revoke?: RevokeOptions | undefined;
	/**
	 * What becomes of Better Auth's calls while Redis cannot answer. `reject`: they reject. `database`: `get` of a `redisStorage` answers `null`, so
	 * that Better Auth reads its database; ends and writes of sessions are kept in memory, and done when Redis is back, ends first. It needs
	 * Better Auth's `session.storeSessionInDatabase: true`, said again as `storeSessionInDatabase`. Default `reject`.
	 */
	onUnavailable?: "reject" | "database" | undefined;
	/** What Better Auth's option `session.storeSessionInDatabase` is set to; `onUnavailable` and `maxSessionsPerUser` ask. Default `false`. */
	storeSessionInDatabase?: boolean | undefined;
	/**
	 * Reads the row of a user as Better Auth's adapter returns it, `null` when there is none. After each write of a session's user the store
	 * compares the two, and writes the row where they differ. Default: Better Auth's own adapter, once a `sessionGate` was made of this storage.
	 */
	loadUser?: LoadUser | undefined;
	/** Takes a line when something happens to the connection; `false`: none. Default `console`. */
	logger?: StoreLogger | false | undefined;
}

/**
 * The options as the native part reads them: `credentials` says whether there is a function. What JSON cannot say becomes what no option is,
 * so that it is refused by name.
 */
export function toJson(options: StoreOptions): string {
	const unsayable = ["function", "bigint", "symbol"];
	const { credentials, ...settings } = options;
	const asked = credentials === undefined ? {} : { credentials: typeof credentials === "function" || [] };
	return JSON.stringify({ ...settings, ...asked }, (_, value) => (unsayable.includes(typeof value) ? [] : value));
}

/** Whether the options say where the sessions are. */
export function namesServer(options: StoreOptions): boolean {
	const { url, host, path, cluster, sentinels } = options;
	return [url, host, path, cluster, sentinels].some((option) => option !== undefined);
}

let noticed = false;

/**
 * The options with the server that they leave open: `REDIS_URL`, else, for development and tests, the embedded engine.
 * `null` elsewhere without either: the first operation says so, because `next build` imports the store that way. An unset `NODE_ENV`
 * counts as production: many servers run without it, and each would keep sessions of its own.
 */
export function withDefaultServer(options: StoreOptions): StoreOptions | null {
	if (namesServer(options)) return options;
	const url = process.env.REDIS_URL;
	if (url) return { ...options, url };
	if (process.env.NODE_ENV !== "development" && process.env.NODE_ENV !== "test") return null;
	if (!noticed) {
		noticed = true;
		process.stderr.write(
			"[better-auth-redis-store] REDIS_URL is not set; sessions are kept in this process's memory and end with it.\n",
		);
	}
	return { ...options, url: "memory://" };
}

/** What the clients of Redis have, whoever made them. */
const CLIENT_METHODS = ["sendCommand", "send_command", "customCommand", "pipeline", "multi"];

/** Options under which other packages take a client. */
const CLIENT_OPTIONS = ["client", "redis", "redisClient"];

/** Where a client stands in place of options: `options`, or the option that holds it. */
export function clientIn(options: object): string | undefined {
	if (isClient(options)) return "options";
	return CLIENT_OPTIONS.find((name) => isClient((options as Record<string, unknown>)[name]));
}

function isClient(value: unknown): boolean {
	if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
	return CLIENT_METHODS.some((name) => typeof (value as Record<string, unknown>)[name] === "function");
}
